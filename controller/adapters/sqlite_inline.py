"""SQLite in the event loop's own thread for what is over in an instant, in the connection's thread for all else.

aiosqlite hands each call to a thread and back, ten times for a read of one row: that costs a hundred times what SQLite
needs. Here a statement runs where it is asked for; a question that is not answered within a millisecond is broken off
and asked again in the thread. What may wait for the disk or for another process's lock goes there at once: a commit of
something written, BEGIN IMMEDIATE, a statement for many rows.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import aiosqlite

_QUICK_SECONDS = 0.001
_BREATH_SECONDS = 0.005  # so much at a time, then the loop has a turn
_STEPS = 500  # of SQLite's machine between two looks at the clock: some tens of microseconds
_MANY = 64  # values in a statement that writes
_CHUNK = 256
_BREAKABLE = ("execute", "fetchall")  # these can begin anew; after a part of the rows was given out, nothing can


class InlineConnection(aiosqlite.Connection):
    """One connection; an ``await`` on it opens it. It stands on aiosqlite's one inner door, ``_execute``."""

    def __init__(self, file: Path, busy_seconds: float) -> None:
        def connect() -> sqlite3.Connection:
            made = sqlite3.connect(file, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
            made.set_progress_handler(self._is_late, _STEPS)
            return made

        super().__init__(connect, _CHUNK)
        self._thread.daemon = True
        self._deadline: float | None = None
        self._turn_began: float | None = None
        self._writes = False
        self._asked: tuple[Any, ...] = ()

    async def _execute(self, fn: Callable[..., Any], *args: Any, **named: Any) -> Any:
        name = fn.__name__
        if name in ("execute", "executemany"):
            self._asked = args
        if named or not self._quick(name, args):
            return await super()._execute(fn, *args, **named)  # type: ignore[no-untyped-call]
        await self._breathe()
        self._deadline = perf_counter() + _QUICK_SECONDS if name in _BREAKABLE and not self._writes else None
        try:
            return fn(*args)
        except sqlite3.OperationalError as error:
            if self._deadline is None or error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
        finally:
            self._deadline = None
        return await super()._execute(self._again, fn)  # type: ignore[no-untyped-call]

    async def _breathe(self) -> None:
        """Somebody who asks again and again leaves the loop its turns all the same."""
        if self._turn_began is None:
            self._turn_began = perf_counter()
            asyncio.get_running_loop().call_soon(self._turned)
        elif perf_counter() - self._turn_began > _BREATH_SECONDS:
            await asyncio.sleep(0)

    def _turned(self) -> None:
        self._turn_began = None

    def _quick(self, name: str, args: Sequence[Any]) -> bool:
        match name:
            case "execute":
                return self._is_quick(*args)
            case "commit" if self._writes:
                self._writes = False
                return False
            case "rollback":
                self._writes = False
                return True
            case "commit" | "cursor" | "fetchall" | "fetchone" | "fetchmany":
                return True
            case "close":
                return self._conn is not None
            case _:
                return False

    def _is_quick(self, sql: str, parameters: Sequence[Any] = ()) -> bool:
        if sql.startswith("BEGIN IMMEDIATE"):
            self._writes = True
            return False
        return not self._writes or (not sql.startswith("DELETE") and len(parameters) <= _MANY)

    def _is_late(self) -> bool:
        """Asked by SQLite as it works; True breaks off what it does."""
        return self._deadline is not None and perf_counter() > self._deadline

    def _again(self, fn: Callable[..., Any]) -> Any:
        """The question from its start, in the thread: what it had answered so far is gone."""
        cursor: sqlite3.Cursor = fn.__self__  # type: ignore[attr-defined]
        cursor.execute(*self._asked)
        return fn() if fn.__name__ != "execute" else cursor
