"""Pools to test: in memory, in a folder, and on an XFS that shares blocks."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from controller.adapters.pool import PoolDir
from controller.adapters.simulated.pool import MemoryPool
from controller.core import names
from controller.core.names import OverlayName
from controller.core.world import Golden, PoolState
from controller.ports.host import Pool

UID = "0b6f6a52-6a3c-4b1e-8a53-1f2a3c4d5e6f"


def why_no_mount() -> str | None:
    """Why file systems cannot be mounted here."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    if shutil.which("mkfs.xfs") is None:
        return "mkfs.xfs is not installed (package xfsprogs)"
    return None if Path("/dev/loop-control").exists() else "there are no loop devices here"


@contextmanager
def mounted(place: Path, *command: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", *command, str(place)], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, capture_output=True)


@contextmanager
def xfs(folder: Path) -> Iterator[Path]:
    """An XFS with reflink, of 320 MB that are not there."""
    image = folder / "xfs.img"
    with image.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True, capture_output=True)
    with mounted(folder / "xfs", "-o", "loop", str(image)) as place:
        yield place


class Disks(Protocol):
    """What lies behind the port, for a test to write and to read."""

    def put(self, source: str, content: bytes) -> None: ...

    def golden(self, image: str, version: int) -> bytes: ...

    def overlay(self, name: OverlayName) -> bytes: ...

    def scribble(self, name: OverlayName, content: bytes) -> None: ...


class Memory:
    def __init__(self, pool: MemoryPool) -> None:
        self.put = pool.put
        self._pool = pool

    def golden(self, image: str, version: int) -> bytes:
        return self._pool.images[image, version][0]

    def overlay(self, name: OverlayName) -> bytes:
        return bytes(self._pool.overlays[str(name)])

    def scribble(self, name: OverlayName, content: bytes) -> None:
        self._pool.overlays[str(name)][: len(content)] = content


class Files:
    def __init__(self, root: Path, imports: Path) -> None:
        self._root = root
        self._imports = imports

    def put(self, source: str, content: bytes) -> None:
        path = self._imports / source
        path.parent.mkdir(parents=True, exist_ok=True)
        later = path.stat().st_mtime_ns + 1 if path.exists() else None
        path.write_bytes(content)
        if later is not None:
            os.utime(path, ns=(later, later))

    def golden(self, image: str, version: int) -> bytes:
        return Path(names.golden_path(str(self._root), image, version)).read_bytes()

    def overlay(self, name: OverlayName) -> bytes:
        return Path(names.overlay_path(str(self._root), name)).read_bytes()

    def scribble(self, name: OverlayName, content: bytes) -> None:
        with Path(names.overlay_path(str(self._root), name)).open("r+b") as file:
            file.write(content)


@dataclass
class PoolBench:
    pool: Pool
    disks: Disks
    method: str

    async def state(self, *images: Golden) -> PoolState:
        view = await self.pool.observe(images)
        assert dict(view.unreadable) == {}
        return view.state


def folder_bench(root: Path, method: str) -> PoolBench:
    imports = root / "imports"
    imports.mkdir(parents=True)
    return PoolBench(PoolDir(root, imports, reserve=0.0), Files(root, imports), method)


def memory_bench() -> PoolBench:
    pool = MemoryPool()
    return PoolBench(pool, Memory(pool), pool.method)


def disk(seed: int, sectors: int = 256) -> bytes:
    """A disk with some data at both ends and nothing between."""
    data = hashlib.sha256(str(seed).encode()).digest() * 16
    return data + bytes((sectors - 2) * 512) + data


def overlay_name(machine: str = "pc07", image: str = "win11", version: int = 1) -> OverlayName:
    return OverlayName(machine, names.SYSTEM_DISK, image, version, UID)
