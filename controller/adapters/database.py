"""One database, SQLite or PostgreSQL: its URL, its transactions, its failures in one line each.

Writers are ordered. SQLite takes its write lock at BEGIN (a lock of ours keeps the writers of one process from polling
for it); PostgreSQL's wait for the row of the counter that they advance. Readers see one snapshot.
"""

import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio
import asyncpg
from sqlalchemy import Connection, Executable, Table, bindparam, event, exc, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from controller.adapters.tables import counters
from controller.ports.store import StoreError
from manifests.types import shown

T = TypeVar("T")

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_STATEMENT_SECONDS = 30
_BUSY_SECONDS = 10
_QUICK_SECONDS = 2
BATCH = 1000  # rows a statement: SQLite takes 32,766 parameters, and the event loop breathes in between

# A commit must outlive a power cut (FULL); a file from a stranger may define no functions (trusted_schema).
_PRAGMAS = (
    f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
)
# These are ours, and stay what they are.
_MISTAKES = (exc.ProgrammingError, exc.IntegrityError, exc.DataError, exc.NotSupportedError)
# What a PostgreSQL URL may say after "?": no secret among them, so the URL can be shown.
_PARAMETERS = frozenset({"sslmode", "host", "port"})


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


async def execute_many(conn: AsyncConnection, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
    for batch in batches(rows):
        await conn.execute(statement, batch)


async def lock(conn: AsyncConnection, counter: str) -> int:
    """The counter's value; on PostgreSQL nobody else gets at it until this transaction ends."""
    query = select(counters.c.value).where(counters.c.name == counter).with_for_update()
    return int((await conn.execute(query)).scalar_one())


async def advance(conn: AsyncConnection, counter: str, value: int) -> None:
    query = update(counters).where(counters.c.name == bindparam("counter")).values(value=bindparam("to"))
    await conn.execute(query, {"counter": counter, "to": value})


def parse(url: str) -> URL:
    """StoreError without echoing what cannot be parsed: it may hold a password."""
    try:
        parsed = make_url(url)
        driver = _DRIVERS[parsed.drivername]
    except (exc.ArgumentError, KeyError, ValueError):
        raise StoreError(
            "the database URL is neither sqlite:///ABSOLUTE/PATH nor postgresql://USER:PASSWORD@HOST:PORT/DATABASE; "
            "correct GGNET_DATABASE_URL"
        ) from None
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise StoreError("the database URL names no file: write sqlite:////var/lib/ggnet/ggnet.db in GGNET_DATABASE_URL")
    unknown = sorted(parsed.query.keys() - (set() if driver.startswith("sqlite") else _PARAMETERS))
    if unknown:
        raise StoreError(f"the database URL has the unknown parameter {shown(unknown[0])}; correct GGNET_DATABASE_URL")
    return parsed.set(drivername=driver)


class Database:
    def __init__(self, url: str, committed: Callable[[], None] = lambda: None, *, connect_seconds: float = 5.0) -> None:
        """No connection is made yet; ``committed`` is called after every write. StoreError when the URL cannot be used."""
        self._committed = committed
        self._connect_seconds = connect_seconds
        self._url = parse(url)
        self.shown = self._url.render_as_string(hide_password=True)
        self.file = Path(self._url.database or "") if self._url.get_backend_name() == "sqlite" else None
        self._engine = self._sqlite() if self.file else self._postgresql()
        self._reader = self._engine.execution_options(
            **({} if self.file else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
        )
        self._writer = self._engine.execution_options(immediate=True)
        self._turn = anyio.Lock() if self.file else None
        self._quick: sqlite3.Connection | None = None
        self._kept: AsyncConnection | None = None
        self._driver: Any = None
        self._asking = anyio.Lock()

    def _sqlite(self) -> AsyncEngine:
        arguments = {"isolation_level": None, "timeout": _BUSY_SECONDS}
        engine = create_async_engine(self._url, connect_args=arguments, hide_parameters=True)
        event.listen(engine.sync_engine, "connect", _set_pragmas)
        event.listen(engine.sync_engine, "begin", _begin)
        return engine

    def _postgresql(self) -> AsyncEngine:
        url, arguments = self._url, dict[str, Any]()
        if "sslmode" in url.query:  # libpq's name, in the URLs that people have
            arguments["ssl"] = url.query["sslmode"]
            url = url.difference_update_query(["sslmode"])
        settings = {
            "application_name": "ggnet",
            "statement_timeout": f"{_STATEMENT_SECONDS}s",
            "idle_in_transaction_session_timeout": f"{_STATEMENT_SECONDS}s",  # a dead writer blocks the others no longer
        }
        arguments |= {
            "timeout": self._connect_seconds,
            "command_timeout": 2 * _STATEMENT_SECONDS,
            "server_settings": settings,
        }
        # A connection is tried before use, so that a restart of PostgreSQL costs nobody a request.
        return create_async_engine(
            url,
            connect_args=arguments,
            pool_pre_ping=True,
            pool_timeout=self._connect_seconds,
            hide_parameters=True,  # a failed statement is logged, and its parameters may be secrets
        )

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """The dialect's own, for ``on_conflict_do_update``."""
        return sqlite.insert(table) if self.file else postgresql.insert(table)

    async def prepare(self) -> None:
        """Once, before first use. StoreError when there is no database, or it is damaged."""
        if self.file:
            await anyio.to_thread.run_sync(_claim_file, self.file)
        async with self.read() as conn:
            if self.file:
                verdict = (await conn.exec_driver_sql("PRAGMA quick_check(1)")).scalar_one()
                if verdict != "ok":
                    raise StoreError(f"the database {self.file} is damaged ({shown(verdict)}); restore it from a backup")
            else:
                await conn.exec_driver_sql("SELECT 1")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with self._whole(), self._named():
            async with _connected(self._reader) as conn, conn.begin():
                yield conn

    async def scalar(self, query: str) -> int:
        """One number, as quickly as the driver can, on a connection that is kept for this. StoreError."""
        with self._named():
            return self._glance(query) if self.file else await self._ask(query)

    def _glance(self, query: str) -> int:
        """In the event loop's own thread: SQLite answers in microseconds, and its readers wait for no writer (WAL)."""
        if self._quick is None:
            self._quick = sqlite3.connect(f"{self.file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)  # type: ignore[union-attr]
        try:
            return int(self._quick.execute(query).fetchone()[0])
        except sqlite3.Error as error:
            self._quick.close()
            self._quick = None
            raise OSError(str(error)) from error

    async def _ask(self, query: str) -> int:
        async with self._asking:
            if self._kept is None:
                kept = self._engine.execution_options(isolation_level="AUTOCOMMIT").connect()
                with anyio.CancelScope(shield=True):
                    await kept.start()
                    self._driver = (await kept.get_raw_connection()).driver_connection
                self._kept = kept
            try:
                with anyio.fail_after(_QUICK_SECONDS):  # past SQLAlchemy, which takes three times as long as the driver
                    return int(await self._driver.fetchval(query))
            except BaseException as error:
                kept, self._kept = self._kept, None
                with anyio.CancelScope(shield=True):
                    await kept.invalidate()
                    await kept.close()
                if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
                    raise OSError(str(error)) from error
                raise

    @asynccontextmanager
    async def write(self, *, dry_run: bool = False) -> AsyncIterator[AsyncConnection]:
        if self._turn:
            async with self._turn, self._transaction(dry_run) as conn:
                yield conn
        else:
            async with self._transaction(dry_run) as conn:
                yield conn

    @asynccontextmanager
    async def _transaction(self, dry_run: bool) -> AsyncIterator[AsyncConnection]:
        with self._whole(), self._named():
            async with _connected(self._writer) as conn, conn.begin() as transaction:
                yield conn
                if dry_run:
                    await transaction.rollback()
        if not dry_run:
            self._committed()

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
        if self._quick is not None:
            self._quick.close()
        if self._kept is not None:
            await self._kept.close()
        await self._engine.dispose()


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """To connect takes seconds at most; half done it cannot be cancelled without a mess in the event loop (asyncpg)."""
    conn = engine.connect()
    with anyio.CancelScope(shield=True):
        await conn.start()
    try:
        yield conn
    finally:
        with anyio.CancelScope(shield=True):
            await conn.close()


def _remedy(reason: str) -> str:
    if "malformed" in reason or "not a database" in reason:
        return "it is damaged: restore it from a backup"
    if "full" in reason:
        return "make room on its file system"
    if "locked" in reason:
        return "another program holds it: end that program"
    return "see that the file and its folder can be written"


def _set_pragmas(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _claim_file(path: Path) -> None:
    """Makes the file, readable by us alone; SQLite gives its -wal and -shm the same mode.

    A file that is there is not opened: closing it would drop the locks that SQLite holds on it (POSIX advisory locks).
    """
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"the database {path} is not a regular file; set GGNET_DATABASE_URL to another")
        if found.st_mode & 0o077:
            path.chmod(0o600)
    except FileNotFoundError:
        raise StoreError(f"the database's folder {path.parent} does not exist: create it or set GGNET_STATE_DIR") from None
    except OSError as error:
        raise StoreError(f"the database {path} cannot be opened ({error.strerror}): we must be able to write it") from error
