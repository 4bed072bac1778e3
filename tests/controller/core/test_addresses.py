"""Where nothing may be sent: every spelling of every place that is not public. Python's own ``ipaddress`` is the witness."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.core.addresses import is_allowed, networks, plain, refusal
from manifests.endpoints import Endpoint

PLACES = {
    "0.0.0.0": "of this host",
    "10.1.2.3": "private",
    "100.64.0.1": "of a carrier's NAT",
    "100.100.100.200": "of a carrier's NAT",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "a cloud's metadata service",
    "169.254.169.254": "link-local",
    "172.31.255.255": "private",
    "192.168.0.1": "private",
    "198.18.0.1": "for benchmarks",
    "224.0.0.1": "multicast",
    "255.255.255.255": "reserved",
    "::": "of this host",
    "::1": "loopback",
    "::127.0.0.1": "not public",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:0:7f00:1": "not public",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b::169.254.169.254": "link-local",
    "64:ff9b:1::1": "of a local NAT64",
    "2001:0:7f00:1::": "reserved for protocols",
    "2002:7f00:1::": "6to4",
    "2001:db8::1": "for documentation",
    "fc00::1": "unique-local",
    "fd00:ec2::254": "unique-local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "fec0::1": "not public",
    "ff02::1": "multicast",
}


@pytest.mark.parametrize(("text", "kind"), PLACES.items())
def test_nothing_is_sent_to(text: str, kind: str) -> None:
    why = refusal(plain(text))
    assert why is not None
    assert why.endswith(f" is {kind}")


@pytest.mark.parametrize("text", ["93.184.216.34", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::5db8:d822"])
def test_public_addresses_are_fine(text: str) -> None:
    assert refusal(plain(text)) is None


@given(st.integers(0, 2**32 - 1))
@example(0x7F000001)
@example(0xA9FEA9FE)
def test_an_ipv4_address_is_judged_the_same_in_every_coat(number: int) -> None:
    bare = refusal(IPv4Address(number)) is None
    assert (refusal(IPv6Address(0xFFFF << 32 | number)) is None) == bare
    assert (refusal(IPv6Address((0x64FF9B << 96) | number)) is None) == bare
    assert refusal(IPv6Address((0x2002 << 112) | (number << 80))) is not None
    assert refusal(IPv6Address(number)) is not None


@given(st.one_of(st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address)))
def test_what_python_does_not_call_global_is_refused(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast:
        assert refusal(address) is not None


@given(st.sampled_from([text for text in PLACES if "%" not in text]), st.integers(0, 32))
def test_an_allowed_network_is_allowed_and_no_address_beside_it(text: str, prefix: int) -> None:
    address = plain(text)
    network = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
    assert refusal(address, [network]) is None
    assert refusal(address, networks("203.0.113.7/32,fd99::/64")) is not None


def test_an_ipv4_network_allows_the_mapped_spelling_and_no_nat64() -> None:
    allowed = networks("127.0.0.0/8, fd00::/8")
    assert is_allowed(ipaddress.ip_address("::ffff:127.0.0.1"), allowed)
    assert refusal(plain("fd00::5"), allowed) is None
    assert refusal(plain("64:ff9b::7f00:1"), allowed) is not None


@pytest.mark.parametrize("text", ["10.0.0.0/33", "here", "10.0.0.1/8", "10.0.0.0/8;fd00::/8"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 the settings say which variable it is
        networks(text)


GOOD = {
    "https://example.org": ("example.org", 443, "/"),
    "https://example.org?a=b": ("example.org", 443, "/?a=b"),
    "HTTPS://Example.ORG:8443/A/b%20c?x=1&y=@": ("example.org", 8443, "/A/b%20c?x=1&y=@"),
    "http://10.0.0.1:8080/": ("10.0.0.1", 8080, "/"),
    "https://[2606:4700::1111]/x": ("2606:4700::1111", 443, "/x"),
    "https://xn--bcher-kva.example/": ("xn--bcher-kva.example", 443, "/"),
}


@pytest.mark.parametrize(("url", "parts"), GOOD.items())
def test_a_plain_url_is_read(url: str, parts: tuple[str, int, str]) -> None:
    found = Endpoint.parse(url)
    assert (found.host, found.port, found.target) == parts


ODD = [
    "",
    "example.org",
    "ftp://example.org/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "https://",
    "https:///path",
    "https:/example.org",
    "https:example.org",
    "https://user@example.org/",
    "https://user:secret@example.org/",
    "https://example.org@127.0.0.1/",
    "https://127.0.0.1\\@example.org/",
    "https://example.org\\.evil.example/",
    "https://example.org/\r\nHost: evil",
    "https://exa mple.org/",
    "https://example.org/ x",
    "https://example.org/\t",
    "https://example.org/#fragment",
    "https://example.org/\x00",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://127.0.0.0x1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1.:443/",
    "https://127.0.0.01/",
    "https://127.0.0.1.0/",
    "https://256.0.0.1/",
    "https://example.org./",
    "https://.example.org/",
    "https://example..org/",
    "https://-a.example/",
    "https://a_b.example/",
    "https://%31%32%37.0.0.1/",
    "https://127。0。0。1/",
    "https://１２７.0.0.1/",
    "https://ⓔxample.org/",
    "https://bücher.example/",
    "https://[::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[::ffff:127.0.0.1/",
    "https://::1/",
    "https://[::1]evil.example/",
    "https://[127.0.0.1]/",
    "https://[1::2::3]/",
    "https://example.org:0/",
    "https://example.org:22/",
    "https://example.org:25/",
    "https://example.org:65536/",
    "https://example.org:443443/",
    "https://example.org:٤٤٣/",
    "https://example.org:+443/",
    "https://example.org:/",
    f"https://example.org/{'x' * 2048}",
    f"https://{'a' * 64}.example/",
]


@pytest.mark.parametrize("url", ODD)
def test_what_readers_could_differ_about_is_refused(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the sentence is for people
        Endpoint.parse(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://127.0.0.1/", "https://[::]/"]
)
def test_an_address_in_the_url_is_known_as_one(url: str) -> None:
    address = Endpoint.parse(url).address
    assert address is not None
    assert refusal(address) is not None


@given(st.text(max_size=40))
def test_no_text_reaches_further_than_a_name_or_an_address(text: str) -> None:
    """Whatever passes has a host of harmless characters, and the URL for the connection has only the given address."""
    try:
        found = Endpoint.parse(f"https://{text}")
    except ValueError:
        return
    assert found.host.isascii()
    assert not set(found.host) & set("@\\/?#% \r\n")
    assert found.at(IPv4Address("192.0.2.7")).startswith(f"https://192.0.2.7:{found.port}/")
