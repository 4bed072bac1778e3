"""What every request is judged by is read ahead of when it is too old: who asks early does not wait, who asks late does."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from api.auth.keys import Keyring
from api.auth.known import Known
from api.live.liveness import Liveness
from controller.adapters.clock import SystemClock
from controller.adapters.store import SqlStore
from controller.core.names import controller_lease
from tests.api.live.stands import Counted, Stand

pytestmark = pytest.mark.anyio


class HandClock(SystemClock):
    at = 0.0

    def monotonic(self) -> float:
        return self.at


class Gate:
    """A store of revocations that answers while it is open."""

    def __init__(self) -> None:
        self.asked, self.open = 0, anyio.Event()
        self.open.set()

    def close(self) -> None:
        self.open = anyio.Event()

    async def revoke(self, ids: object, now: datetime, until: datetime) -> None:
        raise AssertionError

    async def revoked(self, now: datetime) -> Mapping[str, datetime]:
        self.asked += 1
        await self.open.wait()
        return {}


async def in_time(known: Known) -> bool:
    """Whether who asks has an answer while nobody answers."""
    with anyio.move_on_after(0.2) as scope:
        await known.fresh()
    return not scope.cancelled_caught


async def settle() -> None:
    for _ in range(10):
        await checkpoint()


async def test_accounts_are_read_ahead_by_nobody_who_asks(sqlite_url: str, tmp_path: Path) -> None:
    store, gate, clock = await SqlStore.open(sqlite_url), Gate(), HandClock()
    keyring = Keyring(tmp_path, timedelta(hours=1))
    keyring.ensure(clock.now())
    known = Known(store, gate, keyring, clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(known.follow)
        await known.fresh()
        clock.at = 0.5
        await known.fresh()
        await settle()
        assert gate.asked == 1, "young enough"
        clock.at = 0.8
        gate.close()
        assert await in_time(known)
        await settle()
        assert gate.asked == 2, "and it is being read"
        clock.at = 1.5
        assert await in_time(known), "the answer is late, but on its way"
        clock.at = 2.1
        assert not await in_time(known), "too old to let anybody in by it"
        gate.open.set()
        await known.fresh()
        assert gate.asked == 2
        tasks.cancel_scope.cancel()
    await store.close()


async def test_a_lease_is_asked_for_ahead_by_nobody_who_asks() -> None:
    stand, clock = Stand(), HandClock()
    store: Counted = stand.store
    await store.acquire(controller_lease("default"), "c1", clock.now(), 3600)
    await stand.add(1)
    await stand.mirror.fresh()
    liveness, machines = Liveness(stand.mirror, store, clock, "default"), tuple(stand.mirror.objects.values())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(liveness.follow)
        for at, asked in ((0.0, 1), (0.5, 1), (0.8, 2), (1.7, 3)):
            clock.at = at
            before = store.asked.count("lease")
            assert await liveness.gone(machines) == {}
            if at:
                assert store.asked.count("lease") == before, "who asks does not wait"
            while store.asked.count("lease") < asked:
                await checkpoint()
            assert await liveness.gone(machines) == {}, "while it is being asked for"
            await settle()
            assert store.asked.count("lease") == asked
        clock.at = 3.0
        assert await liveness.gone(machines) == {}
        assert store.asked.count("lease") == 4, "too old: asked for by who needs it"
        tasks.cancel_scope.cancel()
