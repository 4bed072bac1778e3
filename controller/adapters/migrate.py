"""The database's schema, brought to a revision: Alembic, configured here, so that no ini file has to be found.

Alembic is a second's work to load on a slow machine: only who has to move a schema asks for this module.
"""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

import migrations
from controller.adapters.database import Database
from controller.ports.store import StoreError

_ALONE = 7211940661  # any number: of two processes that migrate one PostgreSQL database, one waits for the other


async def upgrade(url: str) -> None:
    """To the newest revision; a SQLite file is made. StoreError."""
    await _run(url, lambda config: command.upgrade(config, "head"))


async def downgrade(url: str, revision: str) -> None:
    """To an earlier revision, or with ``base`` to none: what the later ones held is lost. StoreError."""
    await _run(url, lambda config: command.downgrade(config, revision))


def newest() -> str | None:
    """The head of the revisions, told by themselves."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def revisions() -> frozenset[str]:
    """All that this version knows."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def move(connection: Connection, shown: str, act: Callable[[Config], None]) -> None:
    """Does that with the schema inside the connection's transaction; ``shown`` names the database. StoreError."""
    config = _config()
    config.attributes["connection"] = connection
    try:
        act(config)
    except CommandError as error:
        raise StoreError(
            f"the schema of {shown} cannot be moved: {error}; it may be of a newer version: use that one"
        ) from error


def alone(connection: Connection) -> None:
    """Until the transaction ends nobody else moves this schema."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ALONE})


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


async def _run(url: str, act: Callable[[Config], None]) -> None:
    def inside(connection: Connection) -> None:
        alone(connection)
        move(connection, database.shown, act)

    database = Database(url)
    try:
        await database.prepare()
        async with database.write() as conn:
            await conn.run_sync(inside)
    finally:
        await database.close()
