"""A PC with two disks: it boots from the first, sees both, and keeps both whatever it is to have from now on."""

from pathlib import Path

import pytest

from tests.lab.disk import NOTE, SECTOR
from tests.lab.documents import ROOM, Document, image, machine, network, room, session
from tests.lab.pc import Firmware
from tests.lab.site import TARGETS, Site, initiator, target, until
from tests.lab.test_boot import pc
from tests.lab.test_chap import MUTUAL, SECRETS, keep

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
PC = "pc02"
OS, GAMES = {"name": "os", "image": "golden"}, {"name": "games", "image": "games@v1", "persistence": "keep"}
GROUP = f"{TARGETS}/{target(PC)}/tpgt_1"
MAPPED = f"{GROUP}/acls/{initiator(PC)}/lun_1"


def wanted(*disks: object) -> list[Document]:
    return [*room(session(PC, disks=list(disks))), image("games")]


@pytest.fixture
def games(site: Site, tmp_path: Path) -> Site:
    """With an image whose note says what it is."""
    made = tmp_path / "games.raw"
    made.write_bytes(site.lab.prepared.boot_disk.read_bytes())
    with made.open("r+b") as file:
        file.seek(NOTE * SECTOR)
        file.write(b"games\0")
    site.put_image("games.raw", made)
    return site


def inquiry(site: Site, lun: int) -> str:
    """What an initiator is told of the disk behind this LUN."""
    url = f"iscsi://10.77.0.1/{target(PC)}/{lun}"
    return site.run(["iscsi-inq", "-i", initiator(PC), "-e", "1", "-c", "128", url]).check()


def test_a_pc_boots_from_its_first_disk_sees_the_second_and_keeps_both(games: Site) -> None:
    site = games
    site.apply(wanted(OS, GAMES))
    disks = site.get(f"Session/{PC}")["status"]["disks"]
    assert [(one["name"], one["lun"], one["version"], one["state"]) for one in disks] == [
        ("os", 0, 1, "ready"),
        ("games", 1, 1, "ready"),
    ]
    for one in disks:
        assert one["serial"] in inquiry(site, one["lun"])
    computer = pc(site, PC)
    assert computer.boot() == computer.mac
    assert computer.wait("NOTE-IS") == computer.mac
    assert computer.wait("SECOND") == "games"
    site.await_phase(f"Session/{PC}", "Active")

    site.run(["unlink", f"{MAPPED}/ggnet-{PC}-games"]).check()
    until("the mapped LUN is back", lambda: site.listing(f"{MAPPED}/ggnet-*") == [f"ggnet-{PC}-games"])
    assert disks[1]["serial"] in inquiry(site, 1)

    site.commit(wanted(OS))
    until("its second disk waits for it", lambda: site.condition(f"Session/{PC}", "Held").get("status") == "True")
    assert disks[1]["serial"] in inquiry(site, 1)
    computer.power_off()


def test_a_uefi_pc_with_a_secret_boots_from_its_first_disk_and_sees_the_second(games: Site) -> None:
    site, name = games, "pc03"
    keep(site, MUTUAL, name)
    others = (machine(one, number) for one, number in ROOM.items() if one != name)
    guarded = machine(name, ROOM[name], chap={"credential": name})
    site.apply([network(), image(), image("games"), *others, guarded, session(name, disks=[OS, GAMES])])
    computer = pc(site, name, Firmware.UEFI)
    assert computer.boot() == computer.mac
    assert computer.wait("NOTE-IS") == computer.mac
    assert computer.wait("SECOND") == "games"
    site.await_phase(f"Session/{name}", "Active")
    assert site.read(f"{TARGETS}/{target(name)}/tpgt_1/attrib/authentication").strip() == "1"
    assert MUTUAL["password"] not in computer.console
    computer.power_off()
    site.run(f"rm -rf {SECRETS}").check()
