"""One database, SQLite or PostgreSQL: its transactions, and its failures in one line each.

Writers are ordered. SQLite takes its write lock at BEGIN (a line of ours keeps the writers of one process from polling
for it); PostgreSQL's wait for the row of the counter that they advance. Readers see one snapshot.

Whoever finds all connections taken waits for one in order, as long as the request may take. Writers have some and readers
have others, so that however many write, nobody's reading waits for them.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
from sqlalchemy import Table, exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controller.adapters.database_url import parse
from controller.adapters.engines import claim_file, postgresql_engine, sqlite_engine
from controller.adapters.glance import Glance, PostgresqlGlance, SqliteGlance
from controller.adapters.turns import Turns
from controller.ports.store import StoreError
from manifests.types import shown

T = TypeVar("T")

_READERS, _WRITERS = 6, 8  # connections; most writers wait for each other anyway
# These are ours, and stay what they are.
_MISTAKES = (exc.ProgrammingError, exc.IntegrityError, exc.DataError, exc.NotSupportedError)


class Database:
    def __init__(self, url: str, committed: Callable[[], None] = lambda: None, *, connect_seconds: float = 5.0) -> None:
        """No connection is made yet; ``committed`` is called after every write. StoreError when the URL cannot be used."""
        self._committed = committed
        parsed = parse(url)
        self.shown = parsed.render_as_string(hide_password=True)
        self.file = Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
        connections = _READERS + _WRITERS + 1  # and the one that is kept for numbers
        self._engine = (
            sqlite_engine(parsed, self.file) if self.file else postgresql_engine(parsed, connections, connect_seconds)
        )
        self._glance: Glance = SqliteGlance(self.file) if self.file else PostgresqlGlance(self._engine)
        self._reader = self._engine.execution_options(
            **({} if self.file else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
        )
        self._writer = self._engine.execution_options(immediate=True)
        self._lazy = self._writer.execution_options(lazy=True)
        self._readers = Turns(_READERS)
        self._writers = Turns(1 if self.file else _WRITERS)
        self._made: dict[Any, Any] = {}

    def once(self, make: "Callable[[Database], T]") -> T:
        """What ``make`` makes in this dialect, made once."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]  # type: ignore[no-any-return]

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """The dialect's own, for ``on_conflict_do_update``."""
        return sqlite.insert(table) if self.file else postgresql.insert(table)

    async def prepare(self) -> None:
        """Once, before first use. StoreError when there is no database, or it is damaged."""
        if self.file:
            await anyio.to_thread.run_sync(claim_file, self.file)
        async with self.read() as conn:
            if self.file:
                verdict = (await conn.exec_driver_sql("PRAGMA quick_check(1)")).scalar_one()
                if verdict != "ok":
                    raise StoreError(f"the database {self.file} is damaged ({shown(verdict)}); restore it from a backup")
            else:
                await conn.exec_driver_sql("SELECT 1")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with self._named():
            async with self._readers.turn():
                with self._whole():
                    async with self._connected(self._reader) as conn, conn.begin():
                        yield conn

    async def scalar(self, query: str) -> int:
        """One number, as quickly as the driver can, on a connection that is kept for this. StoreError."""
        with self._named():
            return await self._glance.scalar(query)

    @asynccontextmanager
    async def write(self, *, dry_run: bool = False, durable: bool = True) -> AsyncIterator[AsyncConnection]:
        """Not ``durable``: a power cut may take it back, for nothing is lost with it."""
        engine = self._writer if durable else self._lazy
        with self._named():
            async with self._writers.turn():
                with self._whole():
                    async with self._connected(engine) as conn, conn.begin() as transaction:
                        if not durable and not self.file:
                            await conn.exec_driver_sql("SET LOCAL synchronous_commit = off")
                        yield conn
                        if dry_run:
                            await transaction.rollback()
        if not dry_run:
            self._committed()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """To connect takes seconds at most; half done it cannot be cancelled without a mess in the event loop (asyncpg)."""
        conn = engine.connect()
        try:
            with anyio.CancelScope(shield=True):
                await conn.start()
        except (exc.DBAPIError, exc.TimeoutError, OSError, TimeoutError):
            self._readers.dismiss()
            self._writers.dismiss()
            raise
        try:
            yield conn
        finally:
            with anyio.CancelScope(shield=True):
                await conn.close()

    def _whole(self) -> anyio.CancelScope:
        """A cancelled call into SQLite's thread would leave its transaction, and so its lock, to the garbage collector.

        They are short. PostgreSQL's may hang with the network, and are cancelled by closing the connection.
        """
        return anyio.CancelScope(shield=self.file is not None)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except _MISTAKES:
            raise
        except (exc.DBAPIError, exc.TimeoutError, OSError, TimeoutError) as error:
            raise StoreError(self._explain(error)) from error

    def _explain(self, error: BaseException) -> str:
        cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
        reason = " ".join(str(cause).split()).rpartition(">: ")[2][:200] or type(cause).__name__
        advice = _remedy(reason) if self.file else "see that PostgreSQL answers there and that GGNET_DATABASE_URL fits"
        return f"the database {self.shown} cannot be used: {reason}; {advice}"

    async def close(self) -> None:
        await self._glance.close()
        await self._engine.dispose()


def _remedy(reason: str) -> str:
    if "malformed" in reason or "not a database" in reason:
        return "it is damaged: restore it from a backup"
    if "full" in reason:
        return "make room on its file system"
    if "locked" in reason:
        return "another program holds it: end that program"
    return "see that the file and its folder can be written"
