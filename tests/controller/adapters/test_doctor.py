"""The doctor finds what is missing or in the way on a real host, and says what to do about it."""

import socket
from pathlib import Path

import pytest

from controller.adapters import dhcp_probe, listeners
from controller.adapters.doctor import Finding, examine
from controller.settings import Settings


def findings(tmp_path: Path, **settings: object) -> dict[str, Finding]:
    places = {"configfs": "cfg", "pool_dir": "pool", "tftp_root": "tftp", "nbp_dir": "nbp", "dhcpd_conf": "dhcpd.conf"}
    made = Settings(state_dir=tmp_path, **{name: tmp_path / place for name, place in places.items()} | settings)  # type: ignore[arg-type]
    return {one.subject: one for one in examine(made)}


def test_what_a_boot_needs_and_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    found = findings(tmp_path)
    for subject in ("kernel target", "pool", "TFTP root", "ipxe.efi", "undionly.kpxe", "dhcpd.conf"):
        assert found[subject].level == "error", subject
        assert found[subject].remedy, subject


def test_a_host_that_has_it_all_is_told_so(tmp_path: Path) -> None:
    for folder in ("cfg/target/iscsi", "pool/imports", "tftp", "nbp"):
        (tmp_path / folder).mkdir(parents=True)
    for program in ("ipxe.efi", "undionly.kpxe"):
        (tmp_path / "nbp" / program).touch()
    include = tmp_path / "ggnet.conf"
    (tmp_path / "dhcpd.conf").write_text(f'# mine\ninclude "{include}";\n')
    found = findings(tmp_path, dhcpd_include=include)
    for subject in ("iSCSI fabric", "pool", "TFTP root", "ipxe.efi", "dhcpd include"):
        assert found[subject].level == "ok", found[subject]


def test_an_include_that_is_only_a_comment_is_none(tmp_path: Path) -> None:
    (tmp_path / "dhcpd.conf").write_text('# include "/etc/dhcp/ggnet.conf";\n')
    found = findings(tmp_path)["dhcpd include"]
    assert found.level == "error"
    assert 'include "/etc/dhcp/ggnet.conf";' in found.remedy


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_the_program_that_holds_a_port_is_named(protocol: str) -> None:
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as mine:
        mine.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            mine.listen()
        port = mine.getsockname()[1]
        name = Path("/proc/self/comm").read_text().strip()
        assert listeners.holders(port, protocol) == {name}  # type: ignore[arg-type]
    assert listeners.holders(port, protocol) == frozenset()  # type: ignore[arg-type]


def test_an_offer_names_its_server_and_anything_else_is_no_offer() -> None:
    number = 0x12345678
    head = bytes([2, 1, 6, 0]) + number.to_bytes(4, "big") + bytes(228) + b"\x63\x82\x53\x63"
    offer = head + bytes([53, 1, 2, 54, 4, 10, 77, 0, 9, 255])
    assert dhcp_probe._server(offer, number) == "10.77.0.9"
    assert dhcp_probe._server(offer, number + 1) is None
    assert dhcp_probe._server(head + bytes([53, 1, 5, 54, 4, 10, 77, 0, 9, 255]), number) is None
    assert all(dhcp_probe._server(offer[:length], number) in (None, "", "10.77.0.9") for length in range(len(offer)))
