"""Hints that something outside may have changed (inotify). A hint carries no truth: who gets one looks for himself.

Losing a hint costs latency, never a change, because everything that is watched is also looked at now and then.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from watchfiles import awatch

# watchfiles waits 1,600 ms by default for a burst to end; a hand edit is to be repaired within two seconds.
_DEBOUNCE_MS = 60
_STEP_MS = 20


async def paths(folders: Collection[Path]) -> AsyncIterator[frozenset[str]]:
    """The paths that changed below these folders, in bursts. Ends when a folder goes; the caller begins again."""
    async for burst in awatch(
        *folders, debounce=_DEBOUNCE_MS, step=_STEP_MS, recursive=True, ignore_permission_denied=True, watch_filter=None
    ):
        yield frozenset(path for _, path in burst)


async def hints(folders: Sequence[Path], poll_seconds: float, wake: Callable[[], None]) -> None:
    """Calls ``wake`` at once, then on each burst of changes and at the latest every ``poll_seconds``, until cancelled."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tick, poll_seconds, wake)
        tasks.start_soon(_listen, folders, poll_seconds, wake)


async def _tick(seconds: float, wake: Callable[[], None]) -> None:
    while True:
        wake()
        await anyio.sleep(seconds)


async def _listen(folders: Sequence[Path], retry_seconds: float, wake: Callable[[], None]) -> None:
    while True:
        there = [folder for folder in folders if folder.is_dir()]
        if there:
            with suppress(FileNotFoundError, RuntimeError):  # a watched folder went away: begin again
                async for _ in paths(there):
                    wake()
        await anyio.sleep(retry_seconds)
