"""The pool's folder as a place to make files in: with a reserve that stays free, and under their names only when whole."""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.adapters import files, pool_copy
from controller.adapters.workers import Job
from controller.ports.host import EffectRefused

is_temp = re.compile(r"\..+\.[0-9a-f]{12}\.tmp").fullmatch


class Room:
    """``reserve`` is the part of the space that stays free; ``driver`` how a file is made from another: auto, or only
    one of reflink and copy."""

    def __init__(self, root: Path, reserve: float) -> None:
        self.root = root
        self._reserve = reserve

    def filled(
        self,
        source: int,
        made: int,
        job: Job,
        driver: str = "auto",
        told: Callable[[float], None] = lambda part: None,
    ) -> str:
        """The source's bytes are in ``made``: how. The reserve is for what running clients still write."""
        self.keep_reserve(0)
        if driver != pool_copy.COPY and pool_copy.clone(source, made):
            return pool_copy.REFLINK
        if driver == pool_copy.REFLINK:
            raise EffectRefused(
                "DriverUnavailable",
                f"GGNET_POOL_DRIVER is reflink, and the file system of {self.root} shares no blocks: set it to auto",
            )
        self.keep_reserve(pool_copy.allocated(source))
        pool_copy.copy(source, made, job.check, told)
        return pool_copy.COPY

    def keep_reserve(self, needed: int) -> None:
        """EffectRefused."""
        space = os.statvfs(self.root)
        free, total = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
        if free - needed < total * self._reserve:
            left = max(0, free - needed) >> 20
            raise EffectRefused(
                "PoolReserve",
                f"the pool {self.root} would have {left} of {total >> 20} MiB left, less than the {self._reserve:.0%} that"
                " running clients may still write: delete sessions, or make it larger",
            )


@contextmanager
def temp(final: Path) -> Iterator[tuple[Path, int]]:
    """A new file beside ``final``, which has its name only when it is complete; nothing is left of it otherwise."""
    path = final.with_name(f".{final.name}.{secrets.token_hex(6)}.tmp")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        yield path, fd
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)


def finish(path: Path, made: int, final: Path, mode: int, method: str) -> None:
    pool_copy.record_method(made, method)
    os.fchmod(made, mode)
    os.fsync(made)
    files.rename_durably(path, final)


def entries(folder: Path) -> dict[str, "os.DirEntry[str]"]:
    """By name; none in a folder that was never made, below a pool that is there."""
    try:
        with os.scandir(folder) as found:
            return {entry.name: entry for entry in found}
    except FileNotFoundError:
        folder.parent.stat()
        return {}
