"""A store in memory and what an API process keeps beside it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from api.live.feed import Feed
from api.live.liveness import Liveness
from api.live.mirror import Mirror
from controller.adapters.clock import SystemClock
from controller.adapters.hints import LocalHints
from controller.ports.store import Lease, LogEntry, News, StoreError
from manifests.kinds import Object
from tests.contracts.stores import API, NOW, machine
from tests.fakes_store import MemoryStore


class Counted(MemoryStore):
    """Counts what it is asked, and can be made not to answer."""

    def __init__(self, *, changes_kept: int = 100_000) -> None:
        super().__init__(changes_kept=changes_kept)
        self.asked: list[str] = []
        self.broken = False

    def _count(self, what: str) -> None:
        self.asked.append(what)
        if self.broken:
            raise StoreError("broken")

    async def list(self, kind: str | None = None) -> tuple[Sequence[Object], int]:
        if self.broken:
            raise StoreError("broken")
        return await super().list(kind)

    async def pulse(self) -> int:
        self._count("pulse")
        return await super().pulse()

    async def news(self, since: int) -> Sequence[News]:
        self._count("news")
        return await super().news(since)

    async def changes(self, since: int, limit: int = 500) -> Sequence[LogEntry]:
        self._count("changes")
        return await super().changes(since, limit)

    async def lease(self, name: str) -> Lease | None:
        self._count("lease")
        await anyio.lowlevel.checkpoint()  # as a database does: others go on meanwhile
        return await super().lease(name)


@dataclass
class Stand:
    store: Counted = field(default_factory=Counted)
    remembered: int = 50_000
    behind: int = 10_000

    def __post_init__(self) -> None:
        clock = SystemClock()
        self.hints = LocalHints()
        self.mirror = Mirror(self.store, clock, self.hints, remembered=self.remembered)
        liveness = Liveness(self.mirror, self.store, clock, "default")
        self.feed = Feed(self.store, self.mirror, liveness, behind=self.behind, look_seconds=0.01)

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[TaskGroup]:
        """Those who listen are told; what else runs meanwhile must end by itself."""
        async with anyio.create_task_group() as follower:
            follower.start_soon(self.feed.follow)
            async with anyio.create_task_group() as tasks:
                yield tasks
            follower.cancel_scope.cancel()

    async def add(self, *numbers: int, **labels: str) -> None:
        await self.store.put([machine(f"pc{number}", number, labels=labels) for number in numbers], API, NOW)

    async def drop(self, number: int) -> None:
        key = f"Machine/pc{number}"
        await self.store.mark_deleted([key], NOW)
        await self.store.remove(key, str((await self.store.get(key)).metadata.uid), NOW)


async def until(true: Callable[[], bool], seconds: float) -> None:
    """Another task makes it true, and tells nobody. TimeoutError."""
    for _ in range(int(seconds / 0.005)):
        if true():
            return
        await anyio.sleep(0.005)
    raise TimeoutError
