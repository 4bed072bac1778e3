"""Every revision goes up and down on both databases, and ends where the table definitions say."""

import uuid
from pathlib import Path

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from controller.adapters import migrate, schema
from controller.adapters.database import Database
from controller.adapters.every_table import metadata
from controller.adapters.store import SqlStore
from controller.ports.store import StoreError
from migrations import NEWEST
from tests.contracts.stores import API, NOW, machine
from tests.servers import Postgres

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    server: Postgres = request.getfixturevalue("postgres_server")
    return anyio.run(server.create, f"empty-{uuid.uuid4()}")


async def tables(url: str) -> set[str]:
    database = Database(url)
    async with database.read() as conn:
        found = await conn.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    await database.close()
    return found


async def test_up_down_and_up_again(empty_url: str) -> None:
    assert not await schema.check(empty_url)
    await migrate.upgrade(empty_url)
    assert await schema.check(empty_url)
    await migrate.upgrade(empty_url)
    await migrate.downgrade(empty_url, "base")
    assert not await schema.check(empty_url)
    assert await tables(empty_url) == {"alembic_version"}
    await migrate.upgrade(empty_url)
    assert await tables(empty_url) == {*metadata.tables, "alembic_version"}
    store = await SqlStore.open(empty_url)
    assert (await store.put([machine()], API, NOW)).resource_version == 1
    await store.close()


async def test_the_newest_revision_is_the_one_that_a_start_asks_for() -> None:
    assert migrate.newest() == NEWEST


async def test_the_revisions_end_where_the_tables_are_defined(empty_url: str) -> None:
    await migrate.upgrade(empty_url)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))

    database = Database(empty_url)
    async with database.read() as conn:
        assert await conn.run_sync(differences) == []
    async with database.write() as conn:
        await conn.execute(text("DROP INDEX ix_events_seq"))
        assert len(await conn.run_sync(differences)) == 1
    await database.close()


async def test_keys_sort_as_bytes_whatever_the_servers_locale(postgres_url: str) -> None:
    database = Database(postgres_url)
    query = "SELECT table_name FROM information_schema.columns WHERE column_name = 'key' AND collation_name = 'C'"
    async with database.read() as conn:
        assert {"objects", "dirty"} <= set((await conn.execute(text(query))).scalars())
    await database.close()


async def test_a_failed_revision_leaves_the_schema_as_it_was(empty_url: str) -> None:
    database = Database(empty_url)
    await database.prepare()
    async with database.write() as conn:
        await conn.execute(text("CREATE TABLE revisions (mine INTEGER)"))
    with pytest.raises(Exception, match="revisions"):
        await migrate.upgrade(empty_url)
    assert await tables(empty_url) <= {"revisions"}
    await database.close()


async def test_two_that_migrate_at_once_both_succeed(empty_url: str) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(migrate.upgrade, empty_url)
    assert await schema.check(empty_url)


async def test_checking_makes_no_file(tmp_path: Path) -> None:
    assert not await schema.check(f"sqlite:///{tmp_path / 'none.db'}")
    assert not (tmp_path / "none.db").exists()


async def test_a_schema_of_another_version_is_named_with_the_remedy(empty_url: str) -> None:
    database = Database(empty_url)
    await database.prepare()
    with pytest.raises(StoreError, match="ggnet migrate"):
        await SqlStore.open(empty_url)
    await migrate.upgrade(empty_url)
    async with database.write() as conn:
        await conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    assert not await schema.check(empty_url)
    with pytest.raises(StoreError, match="newer version"):
        await migrate.upgrade(empty_url)
    with pytest.raises(StoreError, match="9999"):
        await SqlStore.open(empty_url)
