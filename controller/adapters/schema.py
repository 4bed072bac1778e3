"""At which revision the database's schema is, and whether that is ours."""

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.database import Database
from controller.ports.store import StoreError
from migrations import NEWEST


class SchemaDiffers(StoreError):
    """The database answers, and its schema is at another revision than this version needs."""


async def check(url: str) -> bool:
    """Whether the schema is at the newest revision. StoreError when it cannot be read; a file is not made."""
    database = Database(url)
    if database.file and not database.file.exists():
        return False
    try:
        await database.prepare()
        return await current(database) == NEWEST
    finally:
        await database.close()


async def current(database: Database) -> str | None:
    """The revision that Alembic has noted; None where it has never been."""
    async with database.read() as conn:
        return await revision(conn)


async def revision(conn: AsyncConnection) -> str | None:
    """As ``current``, inside a transaction."""

    def noted(connection: Connection) -> str | None:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return None if found is None else str(found)

    return await conn.run_sync(noted)
