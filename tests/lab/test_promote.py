"""A channel moves under a room of PCs at work: none of them feels it, and each has the new version from its next start."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.disk import SECTOR
from tests.lab.documents import Document, image, labelled, machine, session
from tests.lab.initiator import MARK, NOTE
from tests.lab.site import POOL, Site, until
from tests.lab.witness import AtWork

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
NAME = "rolls"
SEATS = {f"seat{number:02}": 130 + number for number in range(20)}


def disk(folder: Path, mark: str) -> Path:
    """A small disk that says what it is."""
    content = bytearray(random.Random(mark).randbytes(1 << 20))
    content[MARK * SECTOR : (NOTE + 1) * SECTOR] = mark.encode().ljust(2 * SECTOR, b"\0")
    made = folder / f"{NAME}-{mark}.raw"
    made.write_bytes(content)
    return made


def rolls(mark: str) -> Document:
    """The image with this source; its channel was never moved."""
    return labelled(image(NAME, f"{NAME}-{mark}.raw", channels={"stable": "v1"}), room=NAME)


@pytest.fixture
def seats(site: Site, tmp_path: Path) -> Iterator[Site]:
    """Twenty PCs on the channel ``stable``, and a source for the version after theirs."""
    for mark in ("v1", "v2"):
        site.put_image(f"{NAME}-{mark}.raw", disk(tmp_path, mark))
    chairs = (labelled(machine(name, number), room=NAME) for name, number in SEATS.items())
    people = (labelled(session(name, f"{NAME}@stable"), room=NAME) for name in SEATS)
    site.declare([rolls("v1"), *chairs, *people])
    site.ready(*SEATS, seconds=90)
    yield site
    site.remove(NAME)


def held(site: Site) -> set[tuple[str, int]]:
    """Phase and version of each seat's session."""
    found = site.ask("sessions", labelSelector=f"room={NAME}")["items"]
    assert len(found) == len(SEATS)
    return {(one["status"]["phase"], one["status"]["imageVersion"]) for one in found}


def overlays(site: Site) -> str:
    return site.run(f"cd {POOL}/overlays && sha256sum seat*").check()


def restart(site: Site, *which: str) -> None:
    site.ggnet("stop", *which, "--wait")
    site.ggnet("start", *which, "--wait")


def assert_undisturbed(site: Site, room: AtWork, version: int, *command: str) -> None:
    """While it moves the channel, and after that."""
    until("all are at work", lambda: held(site) == {("Active", version)}, 60)
    before = overlays(site)
    assert len(before.splitlines()) == len(SEATS)
    site.ggnet("image", *command)
    moved = site.get(f"Image/{NAME}")["metadata"]["generation"]
    until("the channel is told", lambda: site.get(f"Image/{NAME}")["status"]["observedGeneration"] == moved)
    assert room.still_reads()
    assert held(site) == {("Active", version)}
    assert overlays(site) == before
    assert site.ggnet("plan").startswith("nothing to do")


def test_promote_and_roll_back_disturb_none_of_twenty_pcs_and_each_takes_its_version_at_its_next_start(seats: Site) -> None:
    site = seats
    with AtWork(site, SEATS) as room:
        assert set(room.found.values()) == {"v1"}
        site.declare([rolls("v2")])
        until("the new version is there", lambda: site.get(f"Image/{NAME}")["status"]["version"] == 2)
        assert_undisturbed(site, room, 1, "promote", f"{NAME}@v2")
    restart(site, "-l", f"room={NAME}")
    assert held(site) == {("Ready", 2)}
    with AtWork(site, SEATS) as room:
        assert room.found == dict.fromkeys(SEATS, "v2")
        assert_undisturbed(site, room, 2, "rollback", NAME)
    some = list(SEATS)[:4]
    restart(site, *some)
    assert held(site) == {("Ready", 1), ("Ready", 2)}
    with AtWork(site, some) as room:
        assert room.found == dict.fromkeys(some, "v1")
