"""One number from the database, as quickly as its driver can: what is asked again and again, past SQLAlchemy.

What fails raises OSError, or TimeoutError where PostgreSQL does not answer in time.
"""

import sqlite3
from pathlib import Path
from typing import Any, Protocol

import anyio
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_SECONDS = 2


class Glance(Protocol):
    async def scalar(self, query: str) -> int: ...

    async def close(self) -> None: ...


class SqliteGlance:
    """In the event loop's own thread: SQLite answers in microseconds, and its readers wait for no writer (WAL)."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept: sqlite3.Connection | None = None

    async def scalar(self, query: str) -> int:
        if self._kept is None:
            self._kept = sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            return int(self._kept.execute(query).fetchone()[0])
        except sqlite3.Error as error:
            await self.close()
            raise OSError(str(error)) from error

    async def close(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()


class PostgresqlGlance:
    """On one connection, by one asker at a time: SQLAlchemy takes three times as long as the driver."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._asking = anyio.Lock()
        self._kept: AsyncConnection | None = None
        self._driver: Any = None

    async def scalar(self, query: str) -> int:
        import asyncpg  # which SQLAlchemy loads as well, for a PostgreSQL alone

        async with self._asking:
            kept = await self._connected()
            try:
                with anyio.fail_after(_SECONDS):
                    return int(await self._driver.fetchval(query))
            except BaseException as error:
                self._kept = None
                with anyio.CancelScope(shield=True):
                    await kept.invalidate()
                    await kept.close()
                if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
                    raise OSError(str(error)) from error
                raise

    async def _connected(self) -> AsyncConnection:
        if self._kept is None:
            made = self._engine.execution_options(isolation_level="AUTOCOMMIT").connect()
            with anyio.CancelScope(shield=True):
                await made.start()
                self._driver = (await made.get_raw_connection()).driver_connection
            self._kept = made
        return self._kept

    async def close(self) -> None:
        if self._kept is not None:
            await self._kept.close()
