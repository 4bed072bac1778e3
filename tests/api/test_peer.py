"""Whose request it is, behind proxies that are ours and behind those that are not."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from api import peer
from controller.settings import Settings

PROXIES = [ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def scope(client: str, *forwarded: str) -> Scope:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"type": "http", "client": (client, 4711), "headers": headers}


@pytest.mark.parametrize(
    ("client", "forwarded", "whose"),
    [
        ("192.0.2.7", (), "192.0.2.7"),
        ("192.0.2.7", ("198.51.100.1",), "192.0.2.7"),
        ("127.0.0.1", (), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("203.0.113.9, 198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("203.0.113.9, 198.51.100.1, 10.1.2.3",), "198.51.100.1"),
        ("127.0.0.1", ("203.0.113.9", "198.51.100.1", "10.1.2.3"), "198.51.100.1"),
        ("127.0.0.1", ("127.0.0.1, 10.1.2.3",), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.1, unknown",), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.1, , 10.0.0.1",), "10.0.0.1"),
        ("127.0.0.1", ("198.51.100.1:4711",), "198.51.100.1"),
        ("127.0.0.1", ("[2001:db8::7]:4711",), "2001:db8::7"),
        ("127.0.0.1", ("2001:DB8:0::7",), "2001:db8::7"),
        ("127.0.0.1", ("::ffff:198.51.100.1",), "198.51.100.1"),
        ("::ffff:127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("fd00::1", ("2001:db8::7",), "2001:db8::7"),
        ("127.0.0.1", ("198.51.100.1\r\nX: y",), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.1," + "10.0.0.1," * 5000,), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.1, " + ", ".join(["10.0.0.1"] * 40),), "10.0.0.1"),
    ],
)
def test_the_first_from_the_right_that_is_no_proxy_of_ours(client: str, forwarded: tuple[str, ...], whose: str) -> None:
    assert peer.address(scope(client, *forwarded), PROXIES) == whose


def test_without_proxies_the_header_is_nothing() -> None:
    assert peer.address(scope("127.0.0.1", "198.51.100.1"), ()) == "127.0.0.1"
    assert peer.address({"type": "http", "client": None, "headers": []}, PROXIES) == ""


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_whatever_the_header_says_the_answer_is_an_address(first: str, second: str) -> None:
    found = peer.address(scope("127.0.0.1", first, second), PROXIES)
    assert peer.network(found)
    assert found.isprintable()
    assert len(found) < 50


@given(st.text(st.characters(max_codepoint=255)))
def test_a_client_that_is_no_proxy_changes_nothing_with_the_header(text: str) -> None:
    assert peer.address(scope("192.0.2.7", text), PROXIES) == "192.0.2.7"
    assert peer.address(scope("127.0.0.1", text, "198.51.100.1"), PROXIES) == "198.51.100.1"


def test_one_site_is_one_client_in_ipv6() -> None:
    assert peer.network("2001:db8::7") == peer.network("2001:db8::ffff:1") == "2001:db8::/64"
    assert peer.network("192.0.2.7") == "192.0.2.7"
    assert peer.network("") == ""


def test_proxies_are_configured_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGNET_PROXIES", "127.0.0.1, 10.0.0.0/8,fd00::/8")
    assert Settings().proxies == tuple(PROXIES)
    for wrong in ("nonsense", "10.0.0.1/8", "10.0.0.0/33", "*"):
        monkeypatch.setenv("GGNET_PROXIES", wrong)
        with pytest.raises(ValueError, match="proxies"):
            Settings()
