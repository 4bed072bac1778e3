"""Scripts are functions of their parts, are read back exactly, and hold nothing that iPXE would expand or run."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.names import Site
from controller.core.render import ipxe
from manifests.types import Iqn

GOLDEN = Path(__file__).parents[2] / "golden"
LAB = Site(site="lab", server="bs1")
HOSTILE = ["a b", "a\nb", "${net0/mac}", "a||b", "a&&b", "#", "a;b", "../x", "a\0b", "", "é", "ｐｃ", "x" * 300 + "\n"]

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
portals = st.builds(lambda ip, port: f"{ip}:{port}", st.ip_addresses(v=4).map(str), st.integers(1, 65535))
iqns = st.from_regex(
    r"iqn\.2026-(0[1-9]|1[0-2])(\.[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?){2,3}(:[a-z0-9.:-]{1,40})?", fullmatch=True
).map(Iqn.parse)


def script(machine: str = "pc07", portal: str = "10.77.0.1:3260") -> str:
    return ipxe.machine_script(LAB, machine, LAB.initiator("pc07"), portal, LAB.target("pc07"))


def test_the_constant_script_is_the_golden_one() -> None:
    assert ipxe.boot_script() == (GOLDEN / "boot.ipxe").read_text()


def test_a_machine_script_is_the_golden_one() -> None:
    assert script() == (GOLDEN / "machine.ipxe").read_text()


@given(names, names, names, iqns, portals, iqns)
def test_a_rendered_script_is_parsed_back(
    site: str, server: str, machine: str, initiator: Iqn, portal: str, target: Iqn
) -> None:
    text = ipxe.machine_script(Site(site=site, server=server), machine, initiator, portal, target)
    assert ipxe.parse_script(text) == ipxe.Script(site, server, machine, initiator, ipxe.SanUri(portal, 0, target))
    assert ipxe.parse_mark(text) == ipxe.Mark(site, server, machine)


@given(portals, st.integers(0, 16383), iqns)
def test_a_san_uri_is_parsed_back(portal: str, lun: int, target: Iqn) -> None:
    assert ipxe.parse_san_uri(ipxe.san_uri(portal, lun, target)) == ipxe.SanUri(portal, lun, target)


def test_a_san_uri_has_the_four_colons_that_ipxe_counts() -> None:
    assert (
        ipxe.san_uri("10.77.0.1:3260", 10, Iqn.parse("iqn.2026-01.a.b.b:b")) == "iscsi:10.77.0.1::3260:a:iqn.2026-01.a.b.b:b"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "iscsi:10.77.0.1:3260:0:iqn.2026-01.a.b",
        "iscsi:10.77.0.1::3260:g:iqn.2026-01.a.b",
        "iscsi:10.77.0.1::0:0:iqn.2026-01.a.b",
        "iscsi:10.77.0.1::99999:0:iqn.2026-01.a.b",
        "iscsi:999.77.0.1::3260:0:iqn.2026-01.a.b",
        "iscsi:10.77.0.1::3260:0:eui.1",
        "iscsi:10.77.0.1::3260:ffff:iqn.2026-01.a.b",
    ],
)
def test_what_is_not_a_san_uri_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|outside"):
        ipxe.parse_san_uri(text)


@given(st.text())
def test_parsing_any_text_is_total(text: str) -> None:
    assert ipxe.parse_script(text) is None
    assert ipxe.parse_script(script() + text + "x") is None


def test_a_script_with_a_changed_line_is_ours_but_not_whole() -> None:
    changed = script().replace("sleep 3", "sleep 300")
    assert ipxe.parse_script(changed) is None
    assert ipxe.parse_mark(changed) == ipxe.Mark("lab", "bs1", "pc07")


@pytest.mark.parametrize("evil", HOSTILE)
def test_a_hostile_value_never_reaches_a_script(evil: str) -> None:
    iqn = LAB.target("pc07")
    forged = str.__new__(Iqn, evil)
    for site, machine, initiator, portal, target in (
        (LAB, evil, iqn, "10.77.0.1:3260", iqn),
        (LAB, "pc07", forged, "10.77.0.1:3260", iqn),
        (LAB, "pc07", iqn, evil, iqn),
        (LAB, "pc07", iqn, f"10.77.0.1:{evil}", iqn),
        (LAB, "pc07", iqn, "10.77.0.1:3260", forged),
        (Site(site=evil), "pc07", iqn, "10.77.0.1:3260", iqn),
        (Site(server=evil), "pc07", iqn, "10.77.0.1:3260", iqn),
    ):
        with pytest.raises(ValueError, match=r"is not|may not stand"):
            ipxe.machine_script(site, machine, initiator, portal, target)


@given(names)
def test_no_value_of_a_machine_is_expanded_by_ipxe(machine: str) -> None:
    text = script(machine)
    assert {part.partition("}")[0] for part in text.split("${")[1:]} == {"attempt"}
    assert all(line.isascii() and line.isprintable() for line in text.splitlines())
