"""Which way of making private disks this host can do: told by trying it, not by what a file system is called."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.adapters import devmapper, loops, pool_copy, pool_devices
from controller.adapters.workers import Job
from controller.core import space
from controller.ports.host import EffectRefused

AUTO = "auto"
_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Choice:
    """``driver``: reflink | snapshot | copy; ``why`` in words; ``usable`` False for one that was asked for and fails."""

    driver: str
    why: str
    usable: bool = True


def choose(root: Path, asked: str, job: Job) -> Choice:
    """Writes to the pool's folder for a moment. OSError when there cannot be written at all."""
    if asked == pool_copy.COPY:
        return Choice(asked, "asked for by GGNET_POOL_DRIVER")
    problems: list[str] = []
    for driver, trial in ((pool_copy.REFLINK, _reflink), (pool_devices.KIND, _snapshot)):
        if asked in (AUTO, driver):
            problem = trial(root, job)
            if problem is None:
                return Choice(driver, "; ".join([*problems, "tried, and it works"]))
            problems.append(f"no {driver}: {problem}")
    if asked == AUTO:
        return Choice(pool_copy.COPY, "; ".join(problems))
    return Choice(asked, f"asked for by GGNET_POOL_DRIVER, but {'; '.join(problems)}", usable=False)


def _reflink(root: Path, job: Job) -> str | None:
    """Why it does not work."""
    with _scratch(root) as one, _scratch(root) as other:
        os.pwrite(one, b"x" * 4096, 0)
        job.check("cloning a file for a trial")
        return None if pool_copy.clone(one, other) else "the file system shares no blocks"


def _snapshot(root: Path, job: Job) -> str | None:
    name = f"{pool_devices.PROBE}{secrets.token_hex(6)}"
    with _scratch(root) as golden, _scratch(root) as store:
        os.ftruncate(golden, _SIZE)
        os.ftruncate(store, space.store_size(_SIZE))
        try:
            job.check("loop device for a trial")
            with (
                loops.attached(golden, name, readonly=True) as origin,
                loops.attached(store, name, readonly=False) as changes,
            ):
                pool_devices.build(name, _SIZE, origin, changes, job)
            devmapper.remove(name)
        except OSError as error:
            known = pool_devices.unavailable(error)
            return str(known) if isinstance(known, EffectRefused) else f"{error.filename}: {error.strerror}"
        return None


@contextmanager
def _scratch(root: Path) -> Iterator[int]:
    """A file in the pool that never has a name, so that it goes with whoever has it open."""
    fd = os.open(root, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)
