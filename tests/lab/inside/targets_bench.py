"""Creates, observes and deletes the same targets in three ways, on this server's own kernel, one after the other.

Prints one JSON object: ``{way: {create, observe, delete}}`` in seconds a target. Ours is the product's adapter, as the
controller uses it; rtslib and targetcli are used as their manuals show. targetcli is run for fewer targets, for it is slow.
``floor`` is what the kernel itself takes: the very changes that ours makes, by bare system calls, with no look at anything.
Each way has made one target before it is timed, so that modules, folders and imports are there.

    targets_bench.py COUNT COUNT_OF_TARGETCLI
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio

from controller.adapters.configfs import KernelConfigFs
from controller.adapters.lio import KernelLio
from controller.core.desired import Target
from controller.core.names import Site, backstore
from controller.core.steps import PublishTarget, WithdrawTarget

FOLDER = Path("/var/lib/ggnet/bench")
SIZE = 1 << 20
MOUNT = Path("/sys/kernel/config")
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


class Noting(KernelConfigFs):
    """Writes down what is changed."""

    def __init__(self, noted: list[tuple[str, ...]]) -> None:
        super().__init__(MOUNT)
        self._noted = noted

    def mkdir(self, path: str) -> None:
        self._noted.append(("mkdir", path))
        super().mkdir(path)

    def symlink(self, source: str, path: str) -> None:
        self._noted.append(("symlink", source, path))
        super().symlink(source, path)

    def write(self, path: str, value: str) -> None:
        self._noted.append(("write", path, value))
        super().write(path, value)


def replay(noted: list[tuple[str, ...]]) -> None:
    root = f"{MOUNT}/target"
    for call, *words in noted:
        if call == "mkdir":
            with suppress(FileExistsError):
                os.mkdir(f"{root}/{words[0]}")  # noqa: PTH102
        elif call == "symlink":
            os.symlink(f"{root}/{words[0]}", f"{root}/{words[1]}")  # noqa: PTH211
        else:
            fd = os.open(f"{root}/{words[0]}", os.O_WRONLY)
            os.write(fd, words[1].encode())
            os.close(fd)


def ours(paths: list[Path]) -> tuple[dict[str, float], float]:
    site = Site(site="bench")
    names = [f"pc{number:03d}" for number in range(len(paths))]
    targets = [
        Target(site.target(n), n, backstore(n), site.serial(n), str(p), SIZE, site.initiator(n), f"{PORTAL}:3260")
        for n, p in zip(names, paths, strict=True)
    ]
    noted: list[tuple[str, ...]] = []
    lio, noting = KernelLio(KernelConfigFs(MOUNT), site), KernelLio(Noting(noted), site)

    async def every(act: Callable[[Target], object], some: list[Target] = targets) -> None:
        async with anyio.create_task_group() as group:
            for target in some:
                group.start_soon(act, target)  # type: ignore[arg-type]

    async def publish(target: Target) -> None:
        await lio.publish(PublishTarget(target))

    async def note(target: Target) -> None:
        await noting.publish(PublishTarget(target))

    async def withdraw(target: Target) -> None:
        await lio.withdraw(WithdrawTarget(target.iqn))

    async def observe() -> None:
        assert len((await lio.observe(None)).targets) == len(targets)

    count = len(paths)
    for target in targets:  # one after the other: the floor makes them so
        anyio.run(note, target)
    anyio.run(every, withdraw)
    floor = timed(count, lambda: replay(noted))
    anyio.run(every, withdraw)
    return {
        "create": timed(count, lambda: anyio.run(every, publish)),
        "observe": timed(count, lambda: anyio.run(observe)),
        "delete": timed(count, lambda: anyio.run(every, withdraw)),
    }, floor


def rtslib(paths: list[Path]) -> dict[str, float]:
    from rtslib_fb import LUN, TPG, FabricModule, FileIOStorageObject, MappedLUN, NetworkPortal, NodeACL, RTSRoot, Target

    made = []
    warm = FileIOStorageObject("warm", str(paths[0]), SIZE, write_back=True)
    Target(FabricModule("iscsi"), f"{PEER}-warm").delete()
    warm.delete()

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
    mine, floor = ours(paths)
    print(
        json.dumps({"ours": mine, "floor": {"create": floor}, "rtslib": rtslib(paths), "targetcli": targetcli(paths[:few])})
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
