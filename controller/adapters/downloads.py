"""Images' sources from the web: fetched into the pool, and gone on with where they stood.

A line that breaks is tried again, as long as more comes; then the import is told to have failed, and is begun again later
with what is there. Nothing here knows whether the bytes are the right ones: their digest is asked for when they are
imported, as that of any other source.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from controller.adapters import download_part
from controller.adapters.blocks import blocks
from controller.adapters.download_line import Broken, Coming, Line
from controller.adapters.download_part import Part
from controller.adapters.pool_room import Room
from controller.core.steps import ImportImage
from controller.ports.host import EffectFailed, EffectRefused, Fetched
from manifests.types import Size

T = TypeVar("T")
Told = Callable[[Fetched], None]

_AT_ONCE = 2  # a line gains nothing from more, and each takes room
_SETTLED_SECONDS = 10.0  # of a slow line this is what a killed process costs, of a fast one it is 64 MiB


@dataclass(frozen=True, slots=True)
class Patience:
    """``tries`` in a row that bring nothing to speak of end it; ``first`` is the wait after the first of them, doubled up
    to ``longest``. Less than ``least`` bytes in ``window`` seconds are nothing to speak of."""

    tries: int = 6
    first: float = 1.0
    longest: float = 60.0
    least: int = 64 << 10
    window: float = 60.0


class Downloads:
    """In the pool's own folder, which nobody else writes. ``most`` bytes has the longest that is taken."""

    def __init__(
        self, root: Path, line: Line, *, most: int, reserve: float = 0.15, patience: Patience | None = None
    ) -> None:
        self._folder, self._room = root / download_part.FOLDER, Room(root, reserve)
        self._line, self._most, self._patience = line, most, patience or Patience()
        self._slots, self._threads = anyio.Semaphore(_AT_ONCE), CapacityLimiter(2 * _AT_ONCE)
        self._locks: dict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def fetch(self, action: ImportImage, told: Told) -> None:
        """EffectRefused, EffectFailed, OSError."""
        assert action.sha256 is not None  # a url without it would not have been taken
        digest = action.sha256
        async with self._locks[digest], self._turn(told):
            if await self._run(download_part.is_whole, self._folder, digest):
                return
            try:
                await self._fetch(action, await self._run(Part, self._folder, digest, action.source), told)
            except _Useless as useless:
                await self._run(download_part.drop, self._folder, digest)
                raise EffectRefused("SourceTooLarge", f"{action.label}: {useless}") from useless

    @asynccontextmanager
    async def _turn(self, told: Told) -> AsyncIterator[None]:
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            told(Fetched(waits="waiting for other downloads"))
            await self._slots.acquire()
        try:
            yield
        finally:
            self._slots.release()

    async def discard(self, digest: str) -> None:
        """OSError. One that is being fetched ends first: nobody asks for it any more."""
        async with self._locks[digest]:
            await self._run(download_part.drop, self._folder, digest)
        if not self._locks[digest].locked():
            del self._locks[digest]

    async def _fetch(self, action: ImportImage, part: Part, told: Told) -> None:
        try:
            await self._all(action, part, told)
            await self._run(part.finish)
        finally:
            await self._run(_left, part)

    async def _all(self, action: ImportImage, part: Part, told: Told) -> None:
        """_Useless, EffectRefused, EffectFailed, OSError."""
        poor, best = 0, part.end
        while not part.whole:
            try:
                await self._once(action.source, part, told)
                return
            except Broken as broken:
                failed = broken
            await (self._run(part.begin, None, None) if failed.anew else self._run(part.settle))
            # What had to be begun anew is no progress until it is further than it was, or a server that breaks off
            # again and again would be asked for ever.
            poor = 0 if part.end >= best + self._patience.least else poor + 1
            best = max(best, part.end)
            if poor >= self._patience.tries:
                raise EffectFailed(
                    "DownloadFailed", f"{action.label}: {failed}; what has come is kept, and it is tried again"
                )
            wait = max(failed.after, min(self._patience.first * 2.0**poor, self._patience.longest))
            told(Fetched(part.end, part.total, f"{failed}; on again in {wait:.0f} s"))
            await anyio.sleep(wait)

    async def _once(self, url: str, part: Part, told: Told) -> None:
        """All that is missing. Broken, _Useless, EffectRefused, OSError."""
        async with self._line.opened(url, part.end, part.etag) as coming:
            if coming.offset != part.end or part.end == 0:
                await self._run(part.begin, coming.total, coming.etag)
            elif part.total is None:
                part.total = coming.total
            elif coming.total != part.total:
                raise Broken("the server has another file now", anew=True)
            self._admit(part)
            told(Fetched(part.end, part.total))
            await self._take(coming, part, told)
        if part.total is not None and not part.whole:
            raise Broken("the server sent less than it told")

    async def _take(self, coming: Coming, part: Part, told: Told) -> None:
        settled = anyio.current_time()
        async with aclosing(self._paced(coming, part)) as pieces, aclosing(blocks(pieces)) as gathered:
            async for block in gathered:
                self._room.keep_reserve(sum(map(len, block)))
                await self._run(part.write, block)
                if anyio.current_time() >= settled + _SETTLED_SECONDS:
                    await self._run(part.settle)
                    settled = anyio.current_time()
                told(Fetched(part.end, part.total))
                if part.end > self._most:
                    raise _Useless(part.end, self._most)
                if part.total is not None and part.end > part.total:
                    raise Broken("the server sent more than it told", anew=True)

    async def _paced(self, coming: Coming, part: Part) -> AsyncGenerator[bytes, None]:
        """Broken."""
        pace, came = _Pace(self._patience, part.end), part.end
        async for piece in coming.pieces:
            yield piece
            came += len(piece)
            pace.at(came)

    def _admit(self, part: Part) -> None:
        """_Useless, EffectRefused."""
        if part.total is not None:
            if part.total > self._most:
                raise _Useless(part.total, self._most)
            self._room.keep_reserve(part.total - part.end)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        """In a thread, to its end, also when nobody waits any more. OSError."""
        with anyio.CancelScope(shield=True):
            done = await to_thread.run_sync(work, *arguments, limiter=self._threads)
        return done  # noqa: RET504 a scope might swallow what it cuts, as the checker sees it


class _Useless(Exception):
    """It is longer than anything that is taken."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(
            f"it has {size} bytes or more, and {Size(most)} are taken at most: a smaller one, or raise GGNET_UPLOAD_QUOTA"
        )


class _Pace:
    """Whether enough comes for the line to be worth keeping."""

    def __init__(self, patience: Patience, at: int) -> None:
        self._patience, self._mark, self._since = patience, at, anyio.current_time()

    def at(self, end: int) -> None:
        """Broken."""
        now = anyio.current_time()
        if now >= self._since + self._patience.window:
            if end < self._mark + self._patience.least:
                raise Broken(f"too slow: {end - self._mark} bytes in {now - self._since:.0f} s")
            self._mark, self._since = end, now


def _left(part: Part) -> None:
    """What has come counts the next time, as far as the disk takes it."""
    try:
        with suppress(OSError):
            if not part.finished:
                part.settle()
    finally:
        part.close()
