"""How a database that cannot be used says so: one line, the place, the remedy, never the password."""

import socket
import sqlite3
import stat
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text

from controller.adapters.database import Database
from controller.adapters.database_url import parse
from controller.adapters.statements import lock
from controller.adapters.store import SqlStore
from controller.adapters.tables import RESOURCE_VERSION
from controller.ports.store import StoreError
from tests.contracts.stores import API, NOW, machine
from tests.servers import Postgres, free_port

pytestmark = pytest.mark.anyio


async def refusal(url: str, seconds: float = 2) -> str:
    database = Database(url, connect_seconds=seconds)
    with anyio.fail_after(10), pytest.raises(StoreError) as refused:
        await database.prepare()
    await database.close()
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("sqlite:////a/b.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:////a/b.db", "sqlite+aiosqlite"),
        ("postgres://u:p@h/d", "postgresql+asyncpg"),
        ("postgresql://u:p@h:5433/d?sslmode=require", "postgresql+asyncpg"),
    ],
)
def test_the_urls_that_people_write_are_understood(given: str, driver: str) -> None:
    assert parse(given).drivername == driver


@pytest.mark.parametrize("url", ["", "secret", "mysql://u:secret@h/d", "postgresql://u:secret@h:port/d", "sqlite:secret"])
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(StoreError, match="GGNET_DATABASE_URL") as refused:
        parse(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["postgresql://u@h/d?password=secret", "postgresql://u@h/d?x=1", "sqlite:////a/b.db?mode=ro"]
)
def test_a_parameter_that_nothing_would_heed_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="parameter") as refused:
        parse(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_that_would_not_outlive_the_process_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="names no file"):
        parse(url)


async def test_a_sqlite_file_and_its_log_are_for_us_alone(tmp_path: Path, sqlite_url: str) -> None:
    file = tmp_path / "ggnet.db"
    file.chmod(0o644)
    store = await SqlStore.open(sqlite_url)
    await store.put([machine()], API, NOW)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ggnet.db", "ggnet.db-wal", "ggnet.db-shm")}
    await store.close()
    assert set(modes.values()) == {0o600}, modes
    fresh = Database(f"sqlite:///{tmp_path / 'new.db'}")
    await fresh.prepare()
    await fresh.close()
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600


async def test_sqlite_is_set_to_survive_a_power_cut(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "trusted_schema")
    async with database.read() as conn:
        found = [(await conn.execute(text(f"PRAGMA {name}"))).scalar_one() for name in names]
    await database.close()
    assert found == ["wal", 2, 1, 10_000, 0]


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    message = await refusal(f"sqlite:///{tmp_path}/missing/ggnet.db")
    assert f"{tmp_path}/missing does not exist" in message
    assert "GGNET_STATE_DIR" in message


async def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch(mode=0o644)
    (tmp_path / "link.db").symlink_to(tmp_path / "elsewhere")
    for name in (".", "link.db"):
        assert "not a regular file" in await refusal(f"sqlite:///{tmp_path / name}")
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o644


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "ggnet.db"
    file.write_bytes(b"diary " * 1000)
    message = await refusal(f"sqlite:///{file}")
    assert str(file) in message
    assert "backup" in message
    assert file.read_bytes() == b"diary " * 1000


async def test_a_damaged_database_is_named_before_it_is_used(tmp_path: Path, sqlite_url: str) -> None:
    file = tmp_path / "ggnet.db"
    pages = bytearray(file.read_bytes())
    for start in range(4096, len(pages), 4096):
        pages[start : start + 64] = b"\xff" * 64
    file.write_bytes(pages)
    message = await refusal(sqlite_url)
    assert str(file) in message
    assert "backup" in message


async def test_a_database_that_another_program_holds_is_waited_for(tmp_path: Path, sqlite_url: str) -> None:
    store = await SqlStore.open(sqlite_url)
    other = sqlite3.connect(tmp_path / "ggnet.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.put, [machine()], API, NOW)
        await anyio.sleep(0.1)
        assert await store.list() == ([], 0)
        other.execute("COMMIT")
    other.close()
    assert (await store.list())[1] == 1
    await store.close()


async def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    port = free_port()
    message = await refusal(f"postgresql://ggnet:geheim@127.0.0.1:{port}/ggnet?sslmode=disable")
    assert f"127.0.0.1:{port}/ggnet" in message
    assert "PostgreSQL" in message
    assert "geheim" not in message


async def test_a_server_that_does_not_answer_is_not_waited_for_long() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        assert f":{port}/" in await refusal(f"postgresql://u:p@127.0.0.1:{port}/d", seconds=0.2)


@pytest.mark.parametrize(("user", "database"), [("tester", "nowhere"), ("stranger", "postgres")])
async def test_a_server_that_refuses_us_says_why(postgres_server: Postgres, user: str, database: str) -> None:
    url = postgres_server.url(database).replace("tester:", f"{user}:")
    message = await refusal(url)
    assert database in message or user in message
    assert postgres_server.password not in message


async def test_a_statement_that_hangs_on_the_server_is_ended_there(postgres_url: str) -> None:
    database = Database(postgres_url)
    async with database.read() as conn:
        names = (
            "statement_timeout",
            "idle_in_transaction_session_timeout",
            "transaction_isolation",
            "transaction_read_only",
        )
        found = [(await conn.execute(text(f"SHOW {name}"))).scalar_one() for name in names]
    await database.close()
    assert found == ["30s", "30s", "repeatable read", "on"]


ENDED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ggnet'"


async def test_a_connection_that_the_server_ended_is_made_anew(postgres_server: Postgres, postgres_url: str) -> None:
    store = await SqlStore.open(postgres_url)
    await store.put([machine()], API, NOW)
    await postgres_server.execute(ENDED, postgres_url)
    assert (await store.put([machine(mac=8)], API, NOW)).resource_version == 2
    await store.close()


async def test_a_transaction_that_the_server_ended_leaves_nothing(postgres_server: Postgres, postgres_url: str) -> None:
    store = await SqlStore.open(postgres_url)

    async def write() -> None:
        async with store._db.write() as conn:
            await conn.execute(text("UPDATE counters SET value = 99"))
            await postgres_server.execute(ENDED, postgres_url)
            await conn.execute(text("SELECT 1"))

    with pytest.raises(StoreError, match="/store cannot be used"):
        await write()
    assert await store.list() == ([], 0)
    await store.close()


async def test_however_many_write_each_gets_its_turn_in_order_and_readers_wait_for_none(postgres_url: str) -> None:
    """Longer than it takes to give up connecting; as it is when a thousand apply at once."""
    database, order, seen = Database(postgres_url, connect_seconds=1), list[int](), list[float]()

    async def write(number: int) -> None:
        async with database.write() as conn:
            await lock(conn, RESOURCE_VERSION)
            order.append(number)
            await anyio.sleep(0.04)

    async def read() -> None:
        while len(order) < 60:
            began = anyio.current_time()
            async with database.read() as conn:
                await conn.execute(text("SELECT 1"))
            seen.append(anyio.current_time() - began)
            await anyio.sleep(0.1)

    async with anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(write, number)
        tasks.start_soon(read)
    assert sorted(order) == list(range(60))
    assert all(abs(at - number) <= 8 for at, number in enumerate(order)), order
    assert len(seen) > 5
    assert max(seen) < 1
    await database.close()


async def test_who_waits_for_a_turn_no_longer_than_it_wants_goes_at_once(postgres_url: str) -> None:
    database = Database(postgres_url)
    async with anyio.create_task_group() as tasks:

        async def hold() -> None:
            async with database.write():
                await anyio.sleep_forever()

        for _ in range(8):
            tasks.start_soon(hold)
        await anyio.sleep(0.5)
        began = anyio.current_time()
        with anyio.move_on_after(0.1):
            async with database.write():
                raise AssertionError
        assert anyio.current_time() - began < 0.5
        tasks.cancel_scope.cancel()
    await database.close()


async def test_when_no_connection_is_to_be_had_nobody_waits_for_the_others() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        database = Database(f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/d", connect_seconds=0.3)
        failed: list[float] = []
        began = anyio.current_time()

        async def write() -> None:
            with pytest.raises(StoreError):
                async with database.write():
                    raise AssertionError
            failed.append(anyio.current_time() - began)

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(write)
    assert len(failed) == 100
    assert max(failed) < 3, "one after the other it would take four"
    await database.close()


async def test_only_what_may_be_lost_in_a_power_cut_waits_for_no_disk(sqlite_url: str, postgres_server: Postgres) -> None:
    for url, ask, kept, lost in (
        (sqlite_url, "PRAGMA synchronous", 2, 1),
        (postgres_server.url("postgres"), "SHOW synchronous_commit", "on", "off"),
    ):
        database = Database(url)
        for durable in (True, False, True, False):
            async with database.write(durable=durable) as conn:
                assert (await conn.exec_driver_sql(ask)).scalar_one() == (kept if durable else lost)
        await database.close()
