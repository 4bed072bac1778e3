"""How SQLite and PostgreSQL are spoken to: drivers, pragmas, limits of time, how a transaction begins."""

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from controller.adapters.sqlite_inline import InlineConnection
from controller.ports.store import StoreError

_STATEMENT_SECONDS = 30
_BUSY_SECONDS = 10

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


def sqlite_engine(url: URL, file: Path) -> AsyncEngine:
    engine = create_async_engine(
        url,
        async_creator=lambda: InlineConnection(file, _BUSY_SECONDS),
        hide_parameters=True,
        json_deserializer=_json,
    )
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def postgresql_engine(url: URL, connections: int, connect_seconds: float) -> AsyncEngine:
    arguments = dict[str, Any]()
    if "sslmode" in url.query:  # libpq's name, in the URLs that people have
        arguments["ssl"] = url.query["sslmode"]
        url = url.difference_update_query(["sslmode"])
    settings = {
        "application_name": "ggnet",
        "statement_timeout": f"{_STATEMENT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{_STATEMENT_SECONDS}s",  # a dead writer blocks the others no longer
    }
    arguments |= {
        "timeout": connect_seconds,
        "command_timeout": 2 * _STATEMENT_SECONDS,
        "server_settings": settings,
    }
    # A connection is tried before use, so that a restart of PostgreSQL costs nobody a request.
    return create_async_engine(
        url,
        connect_args=arguments,
        pool_pre_ping=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=connect_seconds,
        json_deserializer=_json,
        hide_parameters=True,  # a failed statement is logged, and its parameters may be secrets
    )


def claim_file(path: Path) -> None:
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
