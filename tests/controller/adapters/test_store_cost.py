"""What a call may cost: counted in statements, which does not depend on the machine."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiosqlite
import pytest
from sqlalchemy import event

from controller.adapters.store import SqlStore
from controller.ports.store import StatusWrite
from tests.contracts.stores import GIT, NOW, machine

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[SqlStore]:
    opened = await SqlStore.open(sqlite_url)
    yield opened
    await opened.close()


@contextmanager
def counted(store: SqlStore) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    engine = store._db._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


async def test_a_put_of_thousands_takes_statements_by_the_thousand(store: SqlStore) -> None:
    machines = [machine(f"pc{number}") for number in range(3000)]
    with counted(store) as created:
        await store.put(machines, GIT, NOW)
    with counted(store) as changed:
        await store.put([machine(f"pc{number}", mac=9) for number in range(3000)], GIT, NOW, prune=True)
    with counted(store) as same:
        await store.put([machine(f"pc{number}", mac=9) for number in range(3000)], GIT, NOW, prune=True)
    assert (len(created) < 32, len(changed) < 32, len(same) < 8) == (True, True, True), (created, changed, same)


async def test_a_quiet_sweep_asks_once_and_reads_no_spec(store: SqlStore) -> None:
    await store.put([machine()], GIT, NOW)
    with counted(store) as statements:
        await store.versions()
    (query,) = statements
    async with store._db.read() as conn:
        plan = [row.detail for row in await conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    assert plan == ["SCAN objects USING COVERING INDEX ix_objects_versions"]


async def test_at_the_goal_the_database_is_not_written(store: SqlStore) -> None:
    """P3: SQLite's own count of changed pages stands still."""
    await store.put([machine()], GIT, NOW)
    lease = await store.acquire("server", "a", NOW, 30)
    assert lease is not None
    uid = str((await store.get("Machine/pc1")).metadata.uid)

    async def sweep() -> None:
        assert lease is not None
        await store.put([machine()], GIT, NOW, prune=True)
        ready = StatusWrite("Machine/pc1", uid, {"phase": "Ready"})
        await store.report(lease, statuses=[ready], observations={"Machine/pc1": "{}"})
        await store.done(await store.claim(NOW, 10))
        await store.mark([])

    await sweep()
    async with aiosqlite.connect(store._db.file or "") as witness:

        async def version() -> object:
            async with witness.execute("PRAGMA data_version") as cursor:
                return await cursor.fetchone()

        before = await version()
        await sweep()
        assert await version() == before
        await store.put([machine(mac=8)], GIT, NOW)
        assert await version() != before
