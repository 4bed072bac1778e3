"""Pools to test: in memory, in a folder, on an XFS that shares blocks, and on an ext4 whose disks are snapshots."""

import errno
import hashlib
import mmap
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from controller.adapters import devmapper
from controller.adapters.clock import SystemClock
from controller.adapters.pool import PoolDir
from controller.adapters.simulated.pool import MemoryPool
from controller.core import names, space
from controller.core.desired import Golden
from controller.core.names import OverlayName
from controller.core.observed import PoolState
from controller.ports.host import Pool

# Devices of our names are all removed by these tests: only a kernel that lives in user mode, inside the lab, may be theirs.
LAB = "User Mode Linux" in Path("/proc/cpuinfo").read_text(errors="replace")
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
def ext4(folder: Path) -> Iterator[Path]:
    """An ext4, of 64 MB that are not there."""
    image = folder / "ext4.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True, capture_output=True)
    with mounted(folder / "ext4", "-o", "loop", str(image)) as place:
        yield place


@contextmanager
def xfs(folder: Path) -> Iterator[Path]:
    """An XFS with reflink, of 320 MB that are not there."""
    image = folder / "xfs.img"
    with image.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True, capture_output=True)
    with mounted(folder / "xfs", "-o", "loop", str(image)) as place:
        yield place


class SetClock(SystemClock):
    """A clock that shows what it was set to."""

    time = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def later(self, **by: float) -> None:
        self.time += timedelta(**by)


class Disks(Protocol):
    """What lies behind the port, for a test to write and to read."""

    def put(self, source: str, content: bytes) -> None: ...

    def golden(self, image: str, version: int) -> bytes: ...

    def overlay(self, name: OverlayName) -> bytes: ...

    def scribble(self, name: OverlayName, content: bytes) -> None: ...

    def fill(self, name: OverlayName) -> bytes:
        """Its PC writes all over its disk until that takes no more: what it was told is written, from the beginning."""

    def held(self, name: OverlayName) -> AbstractContextManager[None]:
        """A target stands on it."""

    def opened(self, image: str, version: int) -> AbstractContextManager[None]:
        """A target, or anybody, has a version's file open."""

    def lose(self, name: OverlayName) -> None:
        """Somebody removes its file."""

    def lose_golden(self, image: str, version: int) -> None: ...

    def restart(self) -> None:
        """The kernel starts anew, empty."""

    def left(self) -> list[str]:
        """All devices that are ours."""


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

    def fill(self, name: OverlayName) -> bytes:
        self._pool.full.add(str(name))
        return b""

    @contextmanager
    def held(self, name: OverlayName) -> Iterator[None]:
        self._pool.opened = lambda path: path == names.overlay_path("/pool", name)
        yield
        self._pool.opened = lambda path: False

    @contextmanager
    def opened(self, image: str, version: int) -> Iterator[None]:
        self._pool.opened = lambda path: path == names.golden_path("/pool", image, version)
        yield
        self._pool.opened = lambda path: False

    def lose(self, name: OverlayName) -> None:
        del self._pool.overlays[str(name)]

    def lose_golden(self, image: str, version: int) -> None:
        del self._pool.images[image, version]

    def restart(self) -> None:
        self._pool.restart()

    def left(self) -> list[str]:
        return list(self._pool.devices)


class Files:
    def __init__(self, root: Path, imports: Path) -> None:
        self.root = root
        self._imports = imports

    def put(self, source: str, content: bytes) -> None:
        path = self._imports / source
        path.parent.mkdir(parents=True, exist_ok=True)
        later = path.stat().st_mtime_ns + 1 if path.exists() else None
        path.write_bytes(content)
        if later is not None:
            os.utime(path, ns=(later, later))

    def golden(self, image: str, version: int) -> bytes:
        return Path(names.golden_path(str(self.root), image, version)).read_bytes()

    def overlay(self, name: OverlayName) -> bytes:
        return Path(names.overlay_path(str(self.root), name)).read_bytes()

    def scribble(self, name: OverlayName, content: bytes) -> None:
        with Path(names.overlay_path(str(self.root), name)).open("r+b") as file:
            file.write(content)

    def fill(self, name: OverlayName) -> bytes:
        """By writes that go past all caches, as a target's do."""
        fd = os.open(names.overlay_path(str(self.root), name), os.O_RDWR | os.O_DIRECT)
        with mmap.mmap(-1, space.CHUNK) as page:
            page.write(b"full" * (len(page) // 4))
            told = 0
            try:
                for told in range(0, os.lseek(fd, 0, os.SEEK_END), len(page)):
                    os.pwrite(fd, page, told)
            except OSError as error:
                if error.errno not in (errno.EIO, errno.ENOSPC):
                    raise
            finally:
                os.close(fd)
            return bytes(page[:]) * (told // len(page))

    @contextmanager
    def held(self, name: OverlayName) -> Iterator[None]:
        with Path(names.overlay_path(str(self.root), name)).open("rb"):
            yield

    @contextmanager
    def opened(self, image: str, version: int) -> Iterator[None]:
        with Path(names.golden_path(str(self.root), image, version)).open("rb"):
            yield

    def lose(self, name: OverlayName) -> None:
        Path(names.overlay_file(str(self.root), name)).unlink()

    def lose_golden(self, image: str, version: int) -> None:
        Path(names.golden_path(str(self.root), image, version)).unlink()

    def restart(self) -> None:
        for name in filter(names.is_device, devmapper.listing()):
            devmapper.remove(name)

    def left(self) -> list[str]:
        """Also the loop devices on files of this pool."""
        loops = Path("/sys/block").glob("loop*/loop/backing_file")
        ours = (path.read_text().strip() for path in loops)
        return [*filter(names.is_device, devmapper.listing()), *(path for path in ours if str(self.root) in path)]


@dataclass
class PoolBench:
    """``method`` is how images come in, ``driver`` how disks are made."""

    pool: Pool
    disks: Disks
    method: str
    driver: str
    clock: SetClock = field(default_factory=SetClock)

    def name(self, machine: str = "pc07", image: str = "win11", version: int = 1) -> OverlayName:
        return overlay_name(machine, image, version, "cow" if self.driver == "snapshot" else "raw")

    async def state(self, *images: Golden) -> PoolState:
        view = await self.pool.observe(images)
        assert dict(view.unreadable) == {}
        return view.state


def folder_bench(root: Path, method: str, driver: str | None = None) -> PoolBench:
    imports = root / "imports"
    imports.mkdir(parents=True)
    clock = SetClock()
    return PoolBench(PoolDir(root, imports, reserve=0.0, clock=clock), Files(root, imports), method, driver or method, clock)


def memory_bench(driver: str = "reflink") -> PoolBench:
    clock = SetClock()
    pool = MemoryPool(driver=driver, clock=clock)
    return PoolBench(pool, Memory(pool), pool.method, driver, clock)


@contextmanager
def snapshot_bench(folder: Path) -> Iterator[PoolBench]:
    """On the lab's own kernel. What a test leaves is taken away, or the next could not be believed."""
    bench = folder_bench(folder, "copy", "snapshot")
    try:
        yield bench
    finally:
        bench.disks.restart()
        shutil.rmtree(folder)  # the file system is small, so that it can be filled
    assert bench.disks.left() == []


def disk(seed: int, sectors: int = 256) -> bytes:
    """A disk with some data at both ends and nothing between."""
    data = hashlib.sha256(str(seed).encode()).digest() * 16
    return data + bytes((sectors - 2) * 512) + data


def overlay_name(machine: str = "pc07", image: str = "win11", version: int = 1, form: names.Form = "raw") -> OverlayName:
    return OverlayName(machine, names.SYSTEM_DISK, image, version, UID, form)
