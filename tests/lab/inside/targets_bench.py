"""Creates, observes and deletes the same targets in three ways, on this server's own kernel, one after the other.

Prints one JSON object: ``{way: {create, observe, delete}}`` in seconds a target. Ours is the product's adapter, as the
controller uses it; rtslib and targetcli are used as their manuals show. targetcli is run for fewer targets, for it is slow.

    targets_bench.py COUNT COUNT_OF_TARGETCLI
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from controller.adapters.configfs import KernelConfigFs
from controller.adapters.lio import KernelLio
from controller.core.names import Site, backstore
from controller.core.steps import PublishTarget, WithdrawTarget
from controller.core.world import Target

FOLDER = Path("/var/lib/ggnet/bench")
SIZE = 1 << 20
PORTAL = "10.77.0.1"
PEER = "iqn.2003-01.org.example:bench"


def files(count: int) -> list[Path]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = [FOLDER / f"{number:03d}.raw" for number in range(count)]
    for path in made:
        with path.open("wb") as file:
            file.truncate(SIZE)
    return made


def timed(count: int, work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return (time.monotonic() - began) / count


def ours(paths: list[Path]) -> dict[str, float]:
    site = Site(site="bench")
    names = [f"pc{number:03d}" for number in range(len(paths))]
    targets = [
        Target(site.target(n), n, backstore(n), site.serial(n), str(p), SIZE, site.initiator(n), f"{PORTAL}:3260")
        for n, p in zip(names, paths, strict=True)
    ]
    lio = KernelLio(KernelConfigFs(Path("/sys/kernel/config")), site)

    async def every(act: Callable[[Target], object]) -> None:
        async with anyio.create_task_group() as group:
            for target in targets:
                group.start_soon(act, target)  # type: ignore[arg-type]

    async def publish(target: Target) -> None:
        await lio.publish(PublishTarget(target))

    async def withdraw(target: Target) -> None:
        await lio.withdraw(WithdrawTarget(target.iqn))

    async def observe() -> None:
        assert len((await lio.observe(None)).targets) == len(targets)

    count = len(paths)
    return {
        "create": timed(count, lambda: anyio.run(every, publish)),
        "observe": timed(count, lambda: anyio.run(observe)),
        "delete": timed(count, lambda: anyio.run(every, withdraw)),
    }


def rtslib(paths: list[Path]) -> dict[str, float]:
    from rtslib_fb import LUN, TPG, FabricModule, FileIOStorageObject, MappedLUN, NetworkPortal, NodeACL, RTSRoot, Target

    made = []

    def create() -> None:
        for number, path in enumerate(paths):
            store = FileIOStorageObject(f"bench{number}", str(path), SIZE, write_back=True)
            target = Target(FabricModule("iscsi"), f"{PEER}{number}")
            group = TPG(target, 1)
            group.set_attribute("authentication", "0")
            lun = LUN(group, 0, store)
            acl = NodeACL(group, f"{PEER}:client{number}")
            MappedLUN(acl, 0, lun)
            NetworkPortal(group, PORTAL, 3260)
            group.enable = True
            made.append((store, target))

    def delete() -> None:
        for store, target in made:
            target.delete()
            store.delete()

    count = len(paths)
    return {
        "create": timed(count, create),
        "observe": timed(count, lambda: RTSRoot().dump()),
        "delete": timed(count, delete),
    }


def targetcli(paths: list[Path]) -> dict[str, float]:
    def run(*commands: str) -> None:
        for command in commands:
            subprocess.run(["targetcli", *command.split()], check=True, stdout=subprocess.DEVNULL)

    def create() -> None:
        for number, path in enumerate(paths):
            run(
                f"/backstores/fileio create bench{number} {path}",
                f"/iscsi create {PEER}{number}",
                f"/iscsi/{PEER}{number}/tpg1/luns create /backstores/fileio/bench{number}",
                f"/iscsi/{PEER}{number}/tpg1/acls create {PEER}:client{number}",
                f"/iscsi/{PEER}{number}/tpg1/portals create {PORTAL}",
                f"/iscsi/{PEER}{number}/tpg1 enable",
            )

    def delete() -> None:
        for number in range(len(paths)):
            run(f"/iscsi delete {PEER}{number}", f"/backstores/fileio delete bench{number}")

    subprocess.run(["targetcli", "set", "global", "auto_add_default_portal=false"], check=True, stdout=subprocess.DEVNULL)
    count = len(paths)
    return {
        "create": timed(count, create),
        "observe": timed(count, lambda: run("ls")),
        "delete": timed(count, delete),
    }


def main(count: int, few: int) -> None:
    paths = files(count)
    found = {"ours": ours(paths), "rtslib": rtslib(paths), "targetcli": targetcli(paths[:few])}
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
