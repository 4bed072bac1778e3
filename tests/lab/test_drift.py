"""What somebody does behind the daemon's back is noticed, named and put right within two seconds; what is foreign stays."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.lab.documents import ROOM, mac, room, session
from tests.lab.site import ADMIN_CONF, BACKSTORES, INCLUDE, TARGETS, TFTP, Site, backstore, initiator, script, target, until
from tests.lab.witness import Changes, kernel_tree, saveconfig, targetcli, without

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
SECONDS = 2.0
PC = "pc02"
IQN, INITIATOR = target(PC), initiator(PC)
TPG = f"/iscsi/{IQN}/tpg1"
FOREIGN = "iqn.2003-01.org.example:archive"
FOREIGN_FILES = [ADMIN_CONF, f"{TFTP}/README", f"{TFTP}/ggnet/notes.txt", f"{TFTP}/ggnet/machines/foreign.ipxe"]
FULL = room(session(PC), session("pc10"))


@pytest.fixture(scope="module")
def neighbours(site_of_session: Site) -> Iterator[Site]:
    """Foreign things of every sort, which at the end are what they were."""
    site = site_of_session
    site.apply(FULL)
    site.ready(PC, "pc10")
    site.lab.add_foreign()
    for path in FOREIGN_FILES[2:]:
        site.write(path, "somebody's own\n")
    before = without(saveconfig(site), site.targets())
    assert [one["wwn"] for one in before["targets"]] == [FOREIGN]
    yield site
    assert without(saveconfig(site), site.targets()) == before
    site.run(f"rm -f {' '.join(FOREIGN_FILES[2:])}").check()
    targetcli(site, f"/iscsi delete {FOREIGN}", "/backstores/fileio delete archive")


def foreign(site: Site) -> str:
    """Every foreign thing, byte for byte and inode for inode."""
    files = site.run(f"sha256sum {' '.join(FOREIGN_FILES)}; stat -c '%n %i %Y %s %a' {' '.join(FOREIGN_FILES)}").check()
    return files + kernel_tree(site, f"{TARGETS}/{FOREIGN}", f"{BACKSTORES}/*/archive")


@pytest.fixture
def served(neighbours: Site) -> Iterator[Site]:
    """The room as it should be, and at the end again, with all that is foreign untouched."""
    neighbours.apply(FULL)
    neighbours.ready(PC, "pc10")
    before = foreign(neighbours)
    assert "archive" in before
    yield neighbours
    assert foreign(neighbours) == before


def now(site: Site) -> datetime:
    return datetime.fromtimestamp(float(site.run("date +%s.%N").check()), UTC)


def named(site: Site, since: datetime, *words: str) -> Any:
    """The event that tells of a drift, once it is there: which thing, what was expected, what was found, and when."""

    def looked() -> Any:
        drifted = [one for one in site.events() if one["reason"] == "Drifted"]
        fresh = [one for one in drifted if datetime.fromisoformat(one["last"]) >= since]
        wanted = (*words, "expected", "found")
        return next((one for one in fresh if all(word in one["message"] for word in wanted)), None)

    return until(f"an event names {words}", looked, 10)


def repaired(site: Site, seen: Changes, what: str) -> None:
    """Waits until everything is as it was; prints and checks how long that took from the first change."""
    until(f"{what} is repaired", seen.repaired, 20, 0.05)
    seconds = seen.repaired() or 0.0
    print(f"\nDRIFT {what}: repaired after {seconds * 1000:.0f} ms")
    assert seconds < SECONDS, seen.all


KERNEL = {
    "mapped LUN removed": (f"{TPG}/acls/{INITIATOR} delete 0", f"acl/{INITIATOR}/lun/0"),
    "LUN removed": (f"{TPG}/luns delete 0", "lun/0"),
    "TPG disabled": (f"{TPG} disable", "tpg/enable"),
    "foreign LUN added": (f"{TPG}/luns create /backstores/fileio/archive 7", "lun/7"),
    "target removed": (f"/iscsi delete {IQN}", "tpg"),
}


@pytest.mark.parametrize("what", KERNEL)
def test_what_targetcli_changed_is_named_and_repaired(served: Site, what: str) -> None:
    command, field = KERNEL[what]
    tpg = f"{TARGETS}/{IQN}/tpgt_1"
    acl = f"{tpg}/acls/{INITIATOR}"
    with Changes(served, tpg, f"{tpg}/enable", f"{tpg}/lun", f"{tpg}/lun/lun_0", acl, f"{acl}/lun_0") as seen:
        began = now(served)
        served.run("targetcli", stdin=f"{command}\n", timeout=90)
        repaired(served, seen, what)
    named(served, began, IQN, field)
    served.ready(PC)


FILES = {"DHCP include": (INCLUDE, "DHCP include"), "boot script": (script(mac(ROOM[PC])), "boot file")}
EDITS = {
    "changed": "sed -i s/{mac}/52:54:00:00:99:99/ {path}; echo '# x' >>{path}",
    "emptied": ": >{path}",
    "deleted": "rm {path}",
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("what", FILES)
def test_what_an_editor_changed_is_named_and_repaired(served: Site, what: str, edit: str) -> None:
    path, subject = FILES[what]
    content = served.read(path)
    with Changes(served, path) as seen:
        began = now(served)
        served.run(EDITS[edit].format(path=path, mac=mac(ROOM[PC]))).check()
        repaired(served, seen, f"{what} {edit}")
    assert served.read(path) == content
    named(served, began, subject)
    until("dhcpd runs", lambda: served.run("kill -0 $(cat /run/dhcpd.pid)").code == 0, 5)


def test_a_backstore_of_ours_without_its_target_is_put_right(served: Site) -> None:
    """The kernel refuses to delete a backstore that is exported, so that this begins with the target."""
    tpg = f"{TARGETS}/{IQN}/tpgt_1"
    with Changes(served, f"{tpg}/enable", f"{BACKSTORES}/fileio_0/{backstore(PC)}/enable") as seen:
        served.run("targetcli", stdin=f"/iscsi delete {IQN}\n/backstores/fileio delete {backstore(PC)}\n", timeout=90)
        until("the target is there", lambda: served.listing(f"{tpg}/enable") == ["enable"], 20)
    assert seen.all
    served.ready(PC)


def test_the_command_tells_the_drift_afterwards(served: Site) -> None:
    path = script(mac(ROOM[PC]))
    with Changes(served, path) as seen:
        began = now(served)
        served.run(["rm", path]).check()
        repaired(served, seen, "boot script deleted")
    named(served, began, "boot file")
    assert "Drifted" in served.ggnet("events")
    told = served.ggnet("drift")
    assert path.removeprefix(f"{TFTP}/") in told
