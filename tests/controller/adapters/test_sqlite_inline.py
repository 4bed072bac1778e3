"""Where SQLite's work is done: in the event loop's thread while it is short, else in the connection's."""

import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from controller.adapters.sqlite_inline import InlineConnection

pytestmark = pytest.mark.anyio
LONG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT count(*), sum(i) FROM n"
ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[InlineConnection]:
    made = InlineConnection(tmp_path / "x.db", 5)
    await made
    await made.create_function("thread", 0, lambda: threading.current_thread() is threading.main_thread())
    await (await made.execute("CREATE TABLE t (a)")).close()
    yield made
    await made.close()


async def asked(database: InlineConnection, sql: str, *values: object) -> list[tuple[object, ...]]:
    async with database.cursor() as cursor:
        await cursor.execute(sql, values)
        return [tuple(row) for row in await cursor.fetchall()]


async def test_a_short_question_is_answered_in_the_loops_own_thread(database: InlineConnection) -> None:
    assert await asked(database, "SELECT thread()") == [(1,)]


async def test_a_long_question_stalls_nobody_and_is_answered_whole(database: InlineConnection) -> None:
    longest, ended = 0.0, anyio.Event()

    async def watch() -> None:
        nonlocal longest
        while not ended.is_set():
            before = time.perf_counter()
            await anyio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await anyio.sleep(0.01)
        began = time.perf_counter()
        assert await asked(database, LONG) == [(1_000_000, 500_000_500_000)]
        assert await asked(database, ROWS) == [(number,) for number in range(1, 200_001)]
        took = time.perf_counter() - began
        ended.set()
    assert longest < took / 2, f"the loop stood still for {longest:.3f} of {took:.3f} s"


async def test_a_question_that_was_broken_off_leaves_its_transaction_as_it_was(database: InlineConnection) -> None:
    await asked(database, "PRAGMA journal_mode=WAL")
    await asked(database, "BEGIN")
    assert await asked(database, "SELECT count(*) FROM t") == [(0,)]
    other = sqlite3.connect(file_of(database), isolation_level=None)
    other.execute("INSERT INTO t VALUES (1)")
    other.close()
    await asked(database, LONG)
    assert await asked(database, "SELECT count(*) FROM t") == [(0,)]
    await database.commit()
    assert await asked(database, "SELECT count(*) FROM t") == [(1,)]


async def test_a_transaction_that_writes_begins_and_ends_in_the_thread(database: InlineConnection) -> None:
    seen: list[tuple[str, bool]] = []
    await database.set_trace_callback(
        lambda sql: seen.append((sql.split()[0], threading.current_thread() is threading.main_thread()))
    )
    await asked(database, "BEGIN IMMEDIATE")
    await asked(database, "INSERT INTO t VALUES (?)", 1)
    await asked(database, "DELETE FROM t WHERE a = ?", 2)
    await database.commit()
    assert seen == [("BEGIN", False), ("INSERT", True), ("DELETE", False), ("COMMIT", False)]
    assert await asked(database, "SELECT a FROM t") == [(1,)]


async def test_who_asks_again_and_again_leaves_the_loop_its_turns(database: InlineConnection) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        began = time.perf_counter()
        while time.perf_counter() - began < 0.2:
            await asked(database, "SELECT thread()")
        tasks.cancel_scope.cancel()
    assert turns >= 5


async def test_what_sqlite_refuses_is_raised_as_it_is(database: InlineConnection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await asked(database, "SELECT * FROM absent")


def file_of(database: InlineConnection) -> str:
    (row,) = database._conn.execute("PRAGMA database_list").fetchall()
    return str(row[2])
