"""One database, SQLite or PostgreSQL: its URL, its transactions, its failures in one line each.

Writers are ordered. SQLite takes its write lock at BEGIN (a line of ours keeps the writers of one process from polling
for it); PostgreSQL's wait for the row of the counter that they advance. Readers see one snapshot.

Whoever finds all connections taken waits for one in order, as long as the request may take. Writers have some and readers
have others, so that however many write, nobody's reading waits for them.
"""

import json
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio
from pydantic_core import from_json
from sqlalchemy import Column, ColumnElement, Connection, Executable, Table, bindparam, event, exc, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from controller.adapters.sqlite_inline import InlineConnection
from controller.adapters.tables import counters
from controller.adapters.turns import Turns
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
_READERS, _WRITERS = 6, 8  # connections; most writers wait for each other anyway
_STATEMENT_SECONDS = 30
_BUSY_SECONDS = 10
_QUICK_SECONDS = 2
BATCH = 1000  # rows a statement: SQLite takes 32,766 parameters, and the event loop breathes in between

# What a power cut may take back waits for no disk: it is whole or not there, and never there without what was before it.
_DURABLE, _LAZY = "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"
# A commit must outlive a power cut (FULL); a file from a stranger may define no functions (trusted_schema).
_PRAGMAS = (
    f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}",
    "PRAGMA journal_mode=WAL",
    _DURABLE,
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


# Statements that are run again and again are made once: to make one takes longer than to run it.
_OURS = counters.c.name == bindparam("counter")
_LOCK = select(counters.c.value).where(_OURS).with_for_update()
_ADVANCE = update(counters).where(_OURS).values(value=bindparam("to"))
_NEXT = update(counters).where(_OURS).values(value=counters.c.value + 1).returning(counters.c.value)


async def lock(conn: AsyncConnection, counter: str) -> int:
    """The counter's value; on PostgreSQL nobody else gets at it until this transaction ends."""
    return int((await conn.execute(_LOCK, {"counter": counter})).scalar_one())


async def advance(conn: AsyncConnection, counter: str, value: int) -> None:
    await conn.execute(_ADVANCE, {"counter": counter, "to": value})


async def following(conn: AsyncConnection, counter: str) -> int:
    """The counter's next value, as of ``lock``."""
    return int((await conn.execute(_NEXT, {"counter": counter})).scalar_one())


def among(column: Column[Any]) -> ColumnElement[bool]:
    """That it is one of ``keys``."""
    return column.in_(bindparam("keys", expanding=True))


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
        self._lazy = self._writer.execution_options(lazy=True)
        self._readers = Turns(_READERS)
        self._writers = Turns(1 if self.file else _WRITERS)
        self._made: dict[Any, Any] = {}
        self._quick: sqlite3.Connection | None = None
        self._kept: AsyncConnection | None = None
        self._driver: Any = None
        self._asking = anyio.Lock()

    def _sqlite(self) -> AsyncEngine:
        file = self.file
        assert file is not None
        engine = create_async_engine(
            self._url,
            async_creator=lambda: InlineConnection(file, _BUSY_SECONDS),
            hide_parameters=True,
            json_deserializer=_json,
        )
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
            pool_size=_READERS + _WRITERS + 1,  # and the one that is kept for numbers
            max_overflow=0,
            pool_timeout=self._connect_seconds,
            json_deserializer=_json,
            hide_parameters=True,  # a failed statement is logged, and its parameters may be secrets
        )

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
        with self._named():
            async with self._readers.turn():
                with self._whole():
                    async with self._connected(self._reader) as conn, conn.begin():
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
        import asyncpg  # which SQLAlchemy loads as well, for a PostgreSQL alone

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
        if self._quick is not None:
            self._quick.close()
        if self._kept is not None:
            await self._kept.close()
        await self._engine.dispose()


def _remedy(reason: str) -> str:
    if "malformed" in reason or "not a database" in reason:
        return "it is damaged: restore it from a backup"
    if "full" in reason:
        return "make room on its file system"
    if "locked" in reason:
        return "another program holds it: end that program"
    return "see that the file and its folder can be written"


def _json(text: str) -> Any:
    """Pydantic's reader takes a third of the time, and knows no half of a surrogate pair, which messages may have."""
    try:
        return from_json(text)
    except ValueError:
        return json.loads(text)


def _set_pragmas(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    """Past SQLAlchemy's handling of statements, which takes longer than this."""
    options, cursor = connection.get_execution_options(), connection.connection.cursor()
    if options.get("immediate"):
        wanted = _LAZY if options.get("lazy") else _DURABLE
        if connection.info.setdefault(_DURABLE, _DURABLE) != wanted:
            cursor.execute(wanted)
            connection.info[_DURABLE] = wanted
    cursor.execute("BEGIN IMMEDIATE" if options.get("immediate") else "BEGIN")
    cursor.close()


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
