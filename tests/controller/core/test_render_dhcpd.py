"""The include is a function of the configuration, is read back exactly, and holds nothing that could break out of it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.desired import DhcpConfig, Host, Subnet
from controller.core.names import Site, dhcp_host
from controller.core.render import dhcpd
from manifests.types import Cidr, Domain, Hostname, Ipv4, Mac, Name

GOLDEN = Path(__file__).parents[2] / "golden"
HOSTILE = ['a"b', "a\nb", "a;b", "a}b", "{", "../x", "a b", "a\0b", "", "é", "ｐｃ", "a\\", "#", "x" * 10_000 + "\n"]

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
macs = st.integers(1, (1 << 40) - 1).map(lambda n: Mac.parse(f"52{n:010x}"))
addresses = st.integers(1, 254).map(lambda n: Ipv4.parse(f"10.77.0.{n}"))
hosts = st.builds(
    lambda machine, card, mac, address, firmware: Host(
        dhcp_host(machine, card), machine, mac, Hostname.parse(machine), address, firmware
    ),
    names,
    st.integers(0, 7),
    macs,
    st.none() | addresses,
    st.sampled_from(["auto", "bios", "uefi"]),
)
configs = st.lists(hosts, unique_by=lambda h: h.name, max_size=8).map(lambda many: replace(room(), hosts=tuple(many)))


def room() -> DhcpConfig:
    return DhcpConfig((Subnet("main", Cidr.parse("10.77.0.0/24"), Ipv4.parse("10.77.0.1")),))


def host(machine: str, last: int, address: bool = True) -> Host:
    mac = Mac.parse(f"52:54:00:00:00:{last:02x}")
    return Host(
        dhcp_host(machine, 0), machine, mac, Hostname.parse(machine), Ipv4.parse(f"10.77.0.{last}") if address else None
    )


def full() -> DhcpConfig:
    main = Subnet(
        "main",
        Cidr.parse("10.77.0.0/24"),
        Ipv4.parse("10.77.0.1"),
        Ipv4.parse("10.77.0.1"),
        (Ipv4.parse("1.1.1.1"), Ipv4.parse("8.8.8.8")),
        Domain.parse("lab.example.net"),
        (Ipv4.parse("10.77.0.1"),),
        (Ipv4.parse("10.77.0.100"), Ipv4.parse("10.77.0.199")),
    )
    bare = Subnet("bare", Cidr.parse("10.78.0.0/23"), Ipv4.parse("10.78.0.1"))
    theirs = Subnet("theirs", Cidr.parse("10.79.0.0/24"), Ipv4.parse("10.79.0.1"), external=True)
    at_theirs = replace(host("pc04", 4), address=Ipv4.parse("10.79.0.4"))
    forced = [replace(host("pc01", 1, False), firmware="bios"), replace(host("pc02", 2), firmware="uefi")]
    return DhcpConfig((main, theirs, bare), (host("pc10", 10), *forced, at_theirs, host("pc03", 3)))


def test_the_file_is_the_golden_one() -> None:
    assert dhcpd.include(full(), Site(site="lab", server="bs1"), 7) == (GOLDEN / "include.conf").read_text()


def test_an_empty_configuration_is_still_a_valid_file_of_ours() -> None:
    text = dhcpd.include(DhcpConfig(), Site(), 1)
    assert dhcpd.parse_header(text) is not None
    assert dhcpd.parse_hosts(text) == {}


@given(configs.flatmap(lambda config: st.tuples(st.just(config), st.permutations(config.hosts))))
def test_the_order_in_which_things_are_given_does_not_matter(case: tuple[DhcpConfig, list[Host]]) -> None:
    config, shuffled = case
    assert dhcpd.body(replace(config, hosts=tuple(shuffled))) == dhcpd.body(config)


@given(configs)
def test_what_is_rendered_is_parsed_back(config: DhcpConfig) -> None:
    text = dhcpd.include(config, Site(), 3)
    assert dhcpd.parse_hosts(text) == dhcpd.own_hosts(text) == dhcpd.stanzas(config)
    assert set(dhcpd.stanzas(config)) == {h.name for h in config.hosts}


@given(configs, st.integers(0, 10**9))
def test_the_header_says_what_the_body_is(config: DhcpConfig, generation: int) -> None:
    site = Site(site="lab", server="bs1")
    header, body = dhcpd.split(dhcpd.include(config, site, generation))
    assert header == dhcpd.Header("lab", "bs1", generation, hashlib.sha256(body.encode()).hexdigest())
    assert dhcpd.digest(config) == header.sha256


@given(st.text() | st.text(alphabet='host{}; "#\nab,\\'))
def test_parsing_any_text_is_total_and_normal_forms_stay(text: str) -> None:
    dhcpd.split(text)
    once = dhcpd.parse_hosts(text)
    assert dhcpd.parse_hosts("\n".join(once.values())) == once


def test_a_host_in_another_layout_has_the_same_normal_form() -> None:
    wanted = dhcpd.stanzas(replace(room(), hosts=(host("pc03", 3),)))
    text = "group {\n host ggnet-pc03-0\n{hardware ethernet 52:54:00:00:00:03 ;# }\nfixed-address\t10.77.0.3; "
    assert dhcpd.parse_hosts(text + 'option host-name "pc03";}}') == wanted


def test_hosts_in_comments_and_strings_and_option_names_are_none() -> None:
    assert dhcpd.parse_hosts('# host a { }\noption x "; host b { }";\noption host c {\n}\n') == {}


def test_a_truncated_host_is_not_the_whole_one() -> None:
    config = replace(room(), hosts=(host("pc03", 3),))
    text = dhcpd.body(config)
    assert dhcpd.parse_hosts(text[: text.index("option host-name")]) != dhcpd.stanzas(config)


def test_a_damaged_header_is_none_and_the_digest_differs() -> None:
    text = dhcpd.include(room(), Site(), 3)
    header, body = dhcpd.split(text.replace("# ggnet site", "# ggnet  site"))
    assert header is None
    assert hashlib.sha256(body.encode()).hexdigest() != dhcpd.digest(room())


def test_a_network_that_others_answer_on_renders_nothing() -> None:
    config = replace(room(), hosts=(host("pc03", 3), host("pc04", 4, address=False)))
    theirs = replace(config, subnets=(replace(config.subnets[0], external=True),))
    assert dhcpd.body(theirs) == dhcpd.body(DhcpConfig())
    assert dhcpd.stanzas(theirs) == {}


def test_a_subnet_without_a_range_answers_known_machines_only() -> None:
    assert "deny unknown-clients;" in dhcpd.body(room())
    ranged = replace(room().subnets[0], range=(Ipv4.parse("10.77.0.100"), Ipv4.parse("10.77.0.199")))
    assert "unknown-clients" not in dhcpd.body(DhcpConfig((ranged,)))


@pytest.mark.parametrize("evil", HOSTILE)
def test_a_hostile_value_never_reaches_the_file(evil: str) -> None:
    good = host("pc03", 3)
    for bad in (
        replace(good, name=evil),
        replace(good, hostname=evil),
        replace(good, mac=str.__new__(Mac, evil)),
        replace(good, address=str.__new__(Ipv4, evil or " ")),
    ):
        with pytest.raises(ValueError, match=r"may not stand|is not a"):
            dhcpd.body(replace(room(), hosts=(bad,)))
    for subnet in (
        replace(room().subnets[0], name=str.__new__(Name, evil)),
        replace(room().subnets[0], domain=str.__new__(Domain, evil or " ")),
        replace(room().subnets[0], dns=(str.__new__(Ipv4, evil),)),
        replace(room().subnets[0], server=str.__new__(Ipv4, evil)),
    ):
        with pytest.raises(ValueError, match=r"may not stand|is not a"):
            dhcpd.body(DhcpConfig((subnet,)))
    with pytest.raises(ValueError, match="header"):
        dhcpd.header(Site(site=evil), 1, "0" * 64)
