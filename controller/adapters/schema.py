"""The database's schema, brought to a revision: Alembic, configured here, so that no ini file has to be found."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

import migrations
from controller.adapters.database import Database
from controller.ports import StoreError

_ALONE = 7211940661  # any number: of two processes that migrate one PostgreSQL database, one waits for the other


async def upgrade(url: str) -> None:
    """To the newest revision; a SQLite file is made. StoreError."""
    await _run(url, lambda config: command.upgrade(config, "head"))


async def downgrade(url: str, revision: str) -> None:
    """To an earlier revision, or with ``base`` to none: what the later ones held is lost. StoreError."""
    await _run(url, lambda config: command.downgrade(config, revision))


async def check(url: str) -> bool:
    """Whether the schema is at the newest revision. StoreError when it cannot be read; a file is not made."""
    database = Database(url)
    if database.file and not database.file.exists():
        return False
    try:
        await database.prepare()
        return await current(database) == newest()
    finally:
        await database.close()


async def current(database: Database) -> str | None:
    async with database.read() as conn:
        return await conn.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


def newest() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


async def _run(url: str, act: Callable[[Config], None]) -> None:
    def inside(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ALONE})
        config = _config()
        config.attributes["connection"] = connection
        try:
            act(config)
        except CommandError as error:
            raise StoreError(
                f"the schema of {database.shown} cannot be moved: {error}; it may be of a newer version: use that one"
            ) from error

    database = Database(url)
    try:
        await database.prepare()
        async with database.write() as conn:
            await conn.run_sync(inside)
    finally:
        await database.close()
