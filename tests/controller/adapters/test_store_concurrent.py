"""Many writers at once on the real databases: nobody sees a gap, a double claim or the write of a fenced controller."""

import itertools
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from controller.adapters.store import SqlStore
from controller.ports.store import Fenced, Lease, StatusWrite
from tests.contracts.stores import API, NOW, event, later, machine

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def stores(url: str) -> AsyncIterator[list[SqlStore]]:
    """As many processes would have: each its own connections."""
    opened = [await SqlStore.open(url) for _ in range(3)]
    yield opened
    for store in opened:
        await store.close()


async def test_a_watcher_sees_every_change_once_and_in_order(stores: list[SqlStore]) -> None:
    """P17, while three processes write and one reads."""
    writers, seen = 3, [0]

    async def write(store: SqlStore, writer: int) -> None:
        for number in range(12):
            await store.put([machine(f"w{writer}-{number}-{part}") for part in range(number % 3 + 1)], API, NOW)

    async def watch(store: SqlStore, wanted: int) -> None:
        while len(seen) <= wanted:
            seen.extend([entry.resource_version for entry in await store.changes(seen[-1], limit=5)])
            await anyio.sleep(0.001)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, stores[0], writers * 24)
            for writer in range(writers):
                tasks.start_soon(write, stores[writer], writer)
    assert seen == list(range(writers * 24 + 1))


async def test_a_key_is_handed_to_one_of_many(stores: list[SqlStore]) -> None:
    keys = [f"Machine/pc{number}" for number in range(60)]
    handed: list[str] = []

    async def work(store: SqlStore) -> None:
        while claims := await store.claim(NOW, 7):
            handed.extend(claim.key for claim in claims)
            await store.mark([claims[0].key], not_before=later(99))
            await store.done(claims)

    await stores[0].mark(keys)
    async with anyio.create_task_group() as tasks:
        for store in stores:
            tasks.start_soon(work, store)
    assert sorted(handed) == sorted(keys)


async def test_writers_of_everything_at_once_never_deadlock(stores: list[SqlStore]) -> None:
    async def write(store: SqlStore, writer: int) -> None:
        for number in range(6):
            order = sorted((f"pc{one}" for one in range(8)), reverse=bool((writer + number) % 2))
            await store.put([machine(name, mac=writer * 16 + number) for name in order], API, NOW)
            await store.tell([event(name) for name in order])
            await store.done(await store.claim(NOW, 5))
            await store.mark(order)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for writer, store in enumerate(stores):
                tasks.start_soon(write, store, writer)
    assert sum(one.count for one in await stores[0].events()) == 3 * 6 * 8


async def test_no_write_of_the_older_controller_lands_after_the_newer_has_begun(stores: list[SqlStore]) -> None:
    """P7, raced."""
    old, new, reader = stores
    await reader.put([machine()], API, NOW)
    uid = str((await reader.get("Machine/pc1")).metadata.uid)

    async def phase() -> str:
        status = (await reader.get("Machine/pc1")).status
        return status.phase if status else ""

    async def write_on(lease: Lease) -> None:
        for number in itertools.count():
            await old.report(lease, statuses=[StatusWrite("Machine/pc1", uid, {"phase": f"{lease.epoch}.{number}"})])

    async def until_fenced(lease: Lease) -> None:
        with pytest.raises(Fenced):
            await write_on(lease)

    for turn in range(5):
        lease = await old.acquire("server", "old", later(turn * 100), 10)
        assert lease is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_fenced, lease)
            await anyio.sleep(0.02)
            assert await new.acquire("server", "new", later(turn * 100 + 50), 10) is not None
            before = await phase()
        assert await phase() == before


async def test_a_cancelled_write_leaves_nothing_behind(stores: list[SqlStore]) -> None:
    store, other, _ = stores
    for patience in range(12):
        with anyio.move_on_after(patience / 500):
            await store.put([machine(f"pc{patience}-{number}") for number in range(50)], API, NOW)
    found, version = await other.list()
    assert len(found) == version
    assert version % 50 == 0
    await store.put([machine("after")], API, NOW)
    assert (await other.get("Machine/after")).metadata.resource_version == version + 1


async def test_a_list_is_of_one_moment(stores: list[SqlStore]) -> None:
    """Its resourceVersion is that of its objects: a watch that goes on from there misses nothing and repeats nothing."""
    writer, reader, _ = stores
    async with anyio.create_task_group() as tasks:

        async def write() -> None:
            for number in range(30):
                await writer.put([machine(f"pc{number}-{part}") for part in range(3)], API, NOW)
            tasks.cancel_scope.cancel()

        tasks.start_soon(write)
        while True:
            found, version = await reader.list()
            assert len(found) == version
            await anyio.lowlevel.checkpoint()
