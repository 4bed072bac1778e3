"""Hints that something outside may have changed (inotify). A hint carries no truth: who gets one looks for himself.

Losing a hint costs latency, never a change, because everything that is watched is also looked at now and then.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import anyio
from watchfiles import awatch

# watchfiles waits 1,600 ms by default for a burst to end; a hand edit is to be repaired within two seconds.
_DEBOUNCE_MS = 100
_STEP_MS = 50  # it looks so often whether there is something, also while there is nothing


async def follow(folders: Collection[Path], touched: Callable[[frozenset[str]], None]) -> None:
    """Calls ``touched`` with the paths that changed below these folders, in bursts. Ends when one of them is not there,
    or something happens to it itself: once it is removed or replaced, inotify stays with the old one in silence.

    watchfiles looks at a stop event every step, but at a cancellation only every five seconds.
    """
    stop = anyio.Event()
    own = {str(folder) for folder in folders}

    async def stop_when_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stop.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_when_cancelled)
        if all(folder.is_dir() for folder in folders):
            async for burst in awatch(
                *folders,
                debounce=_DEBOUNCE_MS,
                step=_STEP_MS,
                stop_event=stop,
                recursive=True,
                ignore_permission_denied=True,
                watch_filter=None,
            ):
                touched(frozenset(path for _, path in burst))
                if own & {path for _, path in burst}:
                    break
        tasks.cancel_scope.cancel()


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
            await follow(there, lambda _: wake())
        await anyio.sleep(retry_seconds)
