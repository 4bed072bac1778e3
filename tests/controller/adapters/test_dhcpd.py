"""What only a real dhcpd, a real restart and a real crash can show."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from controller.adapters.dhcpd_conf import read_main
from controller.adapters.dhcpd_record import find
from controller.adapters.dhcpd_trial import Trial, Verdict
from controller.core.desired import DhcpConfig
from controller.core.names import Site, dhcp_host
from controller.core.render import dhcpd
from controller.ports.host import EffectFailed, EffectRefused
from manifests.types import Ipv4
from tests.contracts.dhcp_rigs import SITE, IscRig
from tests.contracts.test_dhcp import MAIN, at_goal, config, host, load, look, mac

_CHILD = """
import sys, tempfile
from pathlib import Path
import anyio
from controller.core.steps import LoadDhcp
from tests.contracts.dhcp_rigs import IscRig
from tests.contracts.test_dhcp import config, host
rig = IscRig.__new__(IscRig)
folder = Path(sys.argv[1])
rig.include, rig.conf, rig.script = folder / "etc" / "ggnet.conf", folder / "dhcpd.conf", folder / "restart"
rig.pidfile, rig.state = folder / "dhcpd.pid", folder / "state"
anyio.run(rig.server().load, LoadDhcp(config(host(4)), 2))
"""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[IscRig]:
    assert os.geteuid() == 0, "a real dhcpd in a network namespace of its own needs root"
    rig = IscRig(tmp_path)
    yield rig
    rig.close()


def killed_in_a_load(rig: IscRig) -> None:
    """Another process loads host 4, and is killed by the restart command."""
    child = subprocess.run([sys.executable, "-c", _CHILD, str(rig.folder)], capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    rig.before_restart("")
    rig.dhcp = rig.server()


def test_a_kill_between_the_rename_and_the_restart_is_noticed_and_repaired(rig: IscRig) -> None:
    load(rig, config(host(3)))
    rig.before_restart("kill -9 $PPID; exit 1")
    killed_in_a_load(rig)
    state = look(rig)
    assert (state.file, state.loaded) == (dhcpd.digest(config(host(4))), dhcpd.digest(config(host(3))))
    assert rig.address(mac(3)) == "10.77.0.3"
    load(rig, config(host(4)))
    assert at_goal(rig, config(host(4)))
    assert [rig.address(mac(n)) for n in (3, 4)] == [None, "10.77.0.4"]


def test_a_kill_between_the_restart_and_the_record_is_unknown_and_repaired(rig: IscRig) -> None:
    load(rig, config(host(3)))
    script = rig.script.read_text()
    rig.script.write_text(script.replace("exec nsenter", "nsenter") + "kill -9 $PPID\n")
    killed_in_a_load(rig)
    state = look(rig)
    assert (state.file, state.loaded, state.running) == (dhcpd.digest(config(host(4))), None, True)
    load(rig, config(host(4)))
    assert at_goal(rig, config(host(4)))


@pytest.mark.parametrize("refusal", ["echo no lease file >&2; exit 1", "exit 0", "kill -9 $(cat $PIDFILE); exit 0"])
def test_a_dhcpd_that_does_not_come_up_gets_the_previous_file_back(rig: IscRig, refusal: str) -> None:
    wanted = config(host(3))
    load(rig, wanted)
    text = rig.text()
    guard = refusal.replace("$PIDFILE", str(rig.pidfile))
    rig.before_restart(f"if grep -q ggnet-pc04 {rig.include}; then {guard}; fi")
    with pytest.raises(EffectFailed, match="the previous file is served"):
        load(rig, config(host(4)))
    assert rig.text() == text
    assert at_goal(rig, wanted)
    assert rig.address(mac(3)) == "10.77.0.3"


def test_a_restart_command_that_is_not_there_is_named_and_the_old_file_stays(rig: IscRig) -> None:
    load(rig, config(host(3)))
    text = rig.text()
    rig.script.rename(rig.folder / "moved")
    with pytest.raises(EffectFailed, match="restart cannot be run"):
        load(rig, config(host(4)))
    assert rig.text() == text
    assert rig.address(mac(3)) == "10.77.0.3"


def _missing(rig: IscRig) -> None:
    rig.conf.unlink()


def _only_in_a_comment(rig: IscRig) -> None:
    rig.conf.write_text(f'# include "{rig.include}";\n')


def _hand_written(rig: IscRig) -> None:
    rig.include.write_text("host printer { hardware ethernet 02:00:00:00:00:01; }\n")


def _another_site(rig: IscRig) -> None:
    rig.include.write_text(dhcpd.include(config(host(9)), Site(site="other"), 3))


def _symlink(rig: IscRig) -> None:
    (rig.folder / "victim").write_text("precious")
    rig.include.symlink_to(rig.folder / "victim")


def _folder(rig: IscRig) -> None:
    rig.include.mkdir()


@pytest.mark.parametrize(
    ("disturb", "told"),
    [
        (_missing, r"dhcpd\.conf is missing: create it with the line: include"),
        (_only_in_a_comment, r'add the line: include ".*ggnet\.conf";'),
        (_hand_written, "holds what GGnet did not write: move it away"),
        (_another_site, "belongs to site other"),
        (_symlink, "symbolic link"),
        (_folder, "cannot be read"),
    ],
)
def test_what_an_administrator_must_change_is_told_and_nothing_is_touched(
    rig: IscRig, disturb: Callable[[IscRig], None], told: str
) -> None:
    disturb(rig)
    before = {path: path.read_bytes() for path in rig.folder.rglob("*") if path.is_file()}
    problem = look(rig).problem
    with pytest.raises(EffectRefused, match=told) as caught:
        load(rig, config(host(3)))
    assert str(caught.value) == problem
    assert {path: path.read_bytes() for path in rig.folder.rglob("*") if path.is_file()} == before


def test_our_include_may_not_be_the_administrators_own_file(rig: IscRig) -> None:
    rig.include = rig.conf
    rig.dhcp = rig.server()
    assert "GGNET_DHCPD_INCLUDE" in (look(rig).problem or "")
    with pytest.raises(EffectRefused):
        load(rig, config(host(3)))


def test_a_placeholder_of_comments_is_replaced(rig: IscRig) -> None:
    rig.include.write_text("# written by the administrator, so that dhcpd starts\n\n")
    load(rig, config(host(3)))
    assert at_goal(rig, config(host(3)))


def test_the_administrators_file_is_never_written(rig: IscRig) -> None:
    rig.administrator("ggnet-pc03-0", after="# höst\n")
    before = (rig.conf.read_bytes(), rig.conf.stat().st_mtime_ns)
    load(rig, config(host(2), host(3)))
    assert (rig.conf.read_bytes(), rig.conf.stat().st_mtime_ns) == before


def test_a_host_that_the_administrator_declares_after_our_include_is_named_too(rig: IscRig) -> None:
    rig.administrator(after="host ggnet-pc03-0 { hardware ethernet 02:00:00:00:00:09; }\n")
    assert list(load(rig, config(*(host(n) for n in range(2, 20))))) == ["ggnet-pc03-0"]


def test_a_change_in_a_file_that_the_administrator_includes_makes_refused_hosts_eligible(rig: IscRig) -> None:
    other = rig.folder / "other.conf"
    other.write_text("host ggnet-pc03-0 { hardware ethernet 02:00:00:00:00:09; }\n")
    rig.administrator(after=f'include "{other}";\n')
    assert list(load(rig, config(host(2), host(3)))) == ["ggnet-pc03-0"]
    other.write_text("")
    assert look(rig).refused == {}
    assert load(rig, config(host(2), host(3))) == {}
    assert rig.address(mac(3)) == "10.77.0.3"


def test_a_host_that_loses_to_another_is_eligible_again_when_that_one_goes(rig: IscRig) -> None:
    twin = replace(host(5, address=3), machine="pc05")
    assert list(load(rig, config(host(3), twin))) == ["ggnet-pc05-0"]
    assert list(look(rig).refused) == ["ggnet-pc05-0"]
    load(rig, config(host(4)))
    assert look(rig).refused == {}
    assert load(rig, config(host(4), twin)) == {}


def test_a_network_that_the_administrator_declares_too_is_refused(rig: IscRig) -> None:
    rig.administrator(after="subnet 10.77.0.0 netmask 255.255.255.0 { }\n")
    with pytest.raises(EffectRefused, match=r"network of ours too: Warning: subnet 10\.77\.0\.0/24 overlaps"):
        load(rig, config(host(3)))


class Tongueless(Trial):
    """A dhcpd that refuses and names nobody."""

    async def verdict(self, names: Collection[str]) -> Verdict:
        return replace(await Trial.verdict(self, names), errors=())


def test_refused_hosts_that_dhcpd_does_not_name_are_found_by_halving(rig: IscRig) -> None:
    bad = [dhcp_host(f"pc{n:02}", 0) for n in (2, 31, 32, 64)]
    rig.administrator(*bad)
    wanted = config(*(host(n) for n in range(1, 65)))
    main, candidate = read_main(rig.conf, rig.include), rig.folder / "candidate"
    trial = Tongueless(SITE, 1, rig.conf, main, rig.include, candidate, wanted, left=40)
    names = [h.name for h in wanted.hosts]

    async def search() -> dict[str, str]:
        return await trial.offenders(names, await trial.verdict(names))

    assert sorted(anyio.run(search)) == bad
    trial.left = 5
    with pytest.raises(EffectRefused, match="too many hosts"):
        anyio.run(search)


def test_a_record_that_makes_no_sense_only_costs_a_restart(rig: IscRig) -> None:
    load(rig, config(host(3)))
    for rubbish in (b"", b"\xff", b"[]", b'{"digest": 1}', b"[" * 100_000, b'{"process": {"x": 1}}'):
        (rig.state / "dhcpd.json").write_bytes(rubbish)
        assert look(rig).loaded is None
    load(rig, config(host(3)))
    assert at_goal(rig, config(host(3)))


def test_a_quiet_look_writes_nothing_and_a_quiet_load_neither(rig: IscRig) -> None:
    load(rig, config(host(3)))

    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in rig.folder.rglob("*") if path.name != "leases"}

    before = stamps()
    for _ in range(3):
        assert at_goal(rig, config(host(3)))
    load(rig, config(host(3)), generation=9)
    after = stamps()
    assert {path for path in after if after[path] != before.get(path)} <= {rig.include.parent}


def test_a_pidfile_that_names_another_program_is_no_dhcpd(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    for content in (str(os.getpid()), "", "x", "-1", "0", "99999999999999", "1" * 100):
        pidfile.write_text(content)
        assert find(pidfile) is None


PXE = (60, b"PXEClient:Arch:00000:UNDI:002001")
IPXE = (77, b"iPXE")


CLIENTS: list[tuple[int, list[tuple[int, bytes]], str]] = [
    (3, [PXE, (93, b"\0\0")], "ggnet/undionly.kpxe"),
    (3, [PXE, (93, b"\0\7")], "ggnet/ipxe.efi"),
    (3, [PXE, (93, b"\0\x09")], "ggnet/ipxe.efi"),
    (3, [PXE, (93, b"\0\x0b")], ""),
    (3, [PXE, (93, b"\0\0"), IPXE], "ggnet/boot.ipxe"),
    (3, [PXE, (93, b"\0\7"), IPXE], "ggnet/boot.ipxe"),
    (3, [(60, b"MSFT 5.0")], ""),
    (4, [PXE, (93, b"\0\7")], "ggnet/undionly.kpxe"),
    (4, [PXE, (93, b"\0\7"), IPXE], "ggnet/boot.ipxe"),
    (4, [(60, b"MSFT 5.0")], ""),
    (5, [PXE, (93, b"\0\0")], "ggnet/ipxe.efi"),
]


def test_each_kind_of_client_gets_what_it_can_run(rig: IscRig) -> None:
    load(rig, config(host(3), replace(host(4), firmware="bios"), replace(host(5), firmware="uefi")))
    for n, options, boot in CLIENTS:
        address, told, lease = rig.ask(mac(n), *options)
        assert (n, options, address, told) == (n, options, f"10.77.0.{n}", boot)
        assert (lease == 30) == (PXE in options)


ALONE = bytes([176, 1, 1])
THEIRS = """option space ipxe;
option ipxe-encap-opts code 175 = encapsulate ipxe;
option ipxe.no-pxedhcp code 176 = unsigned integer 8;
"""


@pytest.mark.parametrize("theirs", ["", THEIRS], ids=["alone", "with options of the administrator's"])
def test_ipxe_is_told_that_it_need_not_wait_for_other_boot_servers(rig: IscRig, theirs: str) -> None:
    rig.conf.write_text(theirs + rig.conf.read_text())
    load(rig, config(host(3)))
    wanted = (55, bytes([1, 67, 175]))
    assert rig.option(mac(3), 175, PXE, IPXE, wanted) == ALONE
    assert rig.option(mac(3), 175, PXE, wanted) is None


def test_a_stranger_is_answered_only_where_there_is_a_range(rig: IscRig) -> None:
    load(rig, config(host(3)))
    assert rig.address(mac(9)) is None
    ranged = replace(MAIN, range=(Ipv4.parse("10.77.0.100"), Ipv4.parse("10.77.0.101")))
    load(rig, DhcpConfig((ranged,), (host(3),)))
    assert rig.ask(mac(9), PXE, patience=3)[0] in ("10.77.0.100", "10.77.0.101")
    assert rig.address(mac(3)) == "10.77.0.3"


def test_a_file_that_changes_twice_within_a_tick_is_seen_as_it_is(rig: IscRig) -> None:
    load(rig, config(host(3)))
    whole = rig.include.read_bytes()
    for number in range(100):
        changed = whole.replace(b"10.77.0.3;", b"10.77.0.%d;" % (number % 2 + 4))
        rig.include.write_bytes(changed)
        assert look(rig).hosts[host(3).name].count(f"10.77.0.{number % 2 + 4};") == 1
