"""A controller may be killed at any moment, as often as one likes: what it leaves, the next one takes up."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab.documents import ROOM, Document, image, mac, room, session, text
from tests.lab.site import (
    INCLUDE,
    POOL,
    REPOSITORY,
    ROOT,
    TFTP,
    Site,
    backstore,
    commit_stream,
    script,
    target,
    until,
)
from tests.lab.witness import exported, rtslib_dump, stores

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]
KILLS = 100
PROGRAM = Path(__file__).parent / "inside" / "killer.py"


def walk(dice: random.Random) -> list[Document]:
    """Some room: of each machine's session any kind, or none."""
    sessions = []
    for name in ROOM:
        if dice.random() < 0.75:
            spec: dict[str, Any] = {
                "image": dice.choice(["golden", "spare"]),
                "state": dice.choice(["running", "running", "running", "stopped"]),
                "persistence": dice.choice(["ephemeral", "ephemeral", "keep", "readonly"]),
            }
            sessions.append(session(name, **spec))
    return [*room(*sessions), image("spare")]


def test_killed_a_hundred_times_it_converges_leaks_nothing_and_makes_nothing_twice(site: Site) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"\nKILL seed {seed}")
    dice = random.Random(seed)
    site.put_image("spare.raw", site.lab.prepared.local_disk)
    rooms = [walk(dice) for _ in range(20)]
    site.stop()
    streams = [commit_stream({"room.yaml": text(dice.choice(rooms))}, f"room of life {life}") for life in range(KILLS)]
    asked = {"seed": seed, "repository": REPOSITORY, "streams": streams}
    settings = {**site.lab.daemon.settings, "PYTHONPATH": str(ROOT)}
    done = site.lab.run([sys.executable, str(PROGRAM)], env=settings, stdin=json.dumps(asked), timeout=1500)
    told = json.loads(done.check())
    print(f"KILL {told}")
    assert told["ended_by_themselves"] == [], site.read("/lab/disk/killed.log")[-3000:]
    assert told["kills"] == KILLS
    last = [
        *room(session("pc1"), session("pc10", persistence="keep"), session("pc02", persistence="readonly")),
        image("spare"),
    ]
    site.start()
    site.apply(last)
    site.ready("pc1", "pc10", "pc02")
    assert_exactly(site, ["pc02", "pc1", "pc10"])


def assert_exactly(site: Site, machines: list[str]) -> None:
    """The server holds what these running sessions need, once, and nothing else of ours."""
    seen = rtslib_dump(site)
    found = {iqn: facts for iqn, facts in exported(seen).items() if iqn.startswith("iqn.2026-01.internal.ggnet")}
    assert sorted(found) == [target(name) for name in machines]
    assert [name for name in stores(seen) if "ggnet-" in name] == [f"fileio/{backstore(name)}" for name in machines]
    files = [facts["tpg1/lun/0/file"] for facts in found.values()]
    assert len(set(files)) == len(files)
    writable = [name for name in machines if name != "pc02"]
    try:
        until("the pool holds their overlays and no other", lambda: _belongs(site.overlays(), writable), 30)
    except AssertionError as error:
        raise AssertionError(f"{error}; it holds {site.overlays()}\n{site.ggnet('plan')}") from None
    kept = "! -path '*/imports/*' ! -path '*/uploads/.folder'"
    leftovers = site.run(f"find {POOL} {TFTP} /etc/dhcp -name '*.tmp*' -o -name '.*' -type f {kept}").check()
    assert leftovers == ""
    running = {Path(script(mac(ROOM[name]))).name for name in machines}
    for name in site.scripts():
        assert ("sanboot" in site.read(f"{TFTP}/ggnet/machines/{name}")) == (name in running)
    assert site.hosts() == sorted(f"ggnet-{name}-0" for name in ROOM)
    assert site.read(INCLUDE)


def _belongs(overlays: list[str], machines: list[str]) -> bool:
    """One overlay a machine; beside that of a kept session may lie what it wrote to other images: that is its to keep."""
    parts = [name.split("+") for name in overlays]
    golden = {machine.split(".")[0]: uid for machine, image, uid in parts if image == "golden@v1"}
    others = [(machine.split(".")[0], uid) for machine, image, uid in parts if image != "golden@v1"]
    alone = sum(image == "golden@v1" for _, image, _ in parts) == len(golden)
    return alone and sorted(golden) == machines and all(one == ("pc10", golden["pc10"]) for one in others)
