"""The store in a database: SQLite in a file for one process, PostgreSQL for many."""

from collections.abc import Callable

from sqlalchemy import text

from controller.adapters.clock import SystemClock
from controller.adapters.database import Database
from controller.adapters.schema import SchemaDiffers, current
from controller.adapters.store_accounts import AccountRows, ApiKeyRows
from controller.adapters.store_audit import Audits
from controller.adapters.store_bindings import BindingRows
from controller.adapters.store_leases import Leases
from controller.adapters.store_logins import LockoutRows, LoginRows, RevocationRows
from controller.adapters.store_queue import Queue
from controller.adapters.store_reports import Reports
from controller.adapters.store_requests import Requests
from controller.adapters.store_tombstones import Grave, Tombstones
from controller.adapters.store_trail import Trail
from controller.adapters.store_uploads import UploadRows
from controller.ports.clock import Clock
from migrations import NEWEST


class SqlStore(
    Audits,
    Queue,
    Reports,
    Leases,
    Requests,
    Tombstones,
    AccountRows,
    ApiKeyRows,
    LoginRows,
    LockoutRows,
    RevocationRows,
    BindingRows,
    UploadRows,
):
    """Answers ``Database`` and ``IdentityStore``.

    ``changes_kept``: what a watcher may miss before it must list again; some 10 MB at most. What was deleted can be
    restored for ``restore_days``, of more than ``tombstones_kept`` the latest.
    """

    def __init__(
        self,
        url: str,
        committed: Callable[[], None] = lambda: None,
        *,
        changes_kept: int = 100_000,
        events_kept: int = 10_000,
        clock: Clock | None = None,
        restore_days: int = 30,
        tombstones_kept: int = 10_000,
    ) -> None:
        self._db = Database(url, committed)
        self._clock = clock or SystemClock()
        self._trail = Trail()
        self._changes_kept = changes_kept
        self._events_kept = events_kept
        self._grave = Grave(restore_days, tombstones_kept)

    @classmethod
    async def open(cls, url: str, committed: Callable[[], None] = lambda: None, *, restore_days: int = 30) -> "SqlStore":
        """A store that answers and has our schema; ``committed`` is called after every write. StoreError, with all
        connections closed."""
        store = cls(url, committed, restore_days=restore_days)
        try:
            await store._db.prepare()
            found, shown = await current(store._db), store._db.shown
            if found != NEWEST:
                raise SchemaDiffers(
                    f"the schema of {shown} is at revision {found or 'none'}, not {NEWEST}: run 'ggnet migrate'"
                )
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def database(self) -> Database:
        """For what else lies in it."""
        return self._db

    @property
    def trail(self) -> Trail:
        """For what else appends to the audit log."""
        return self._trail

    async def ping(self) -> None:
        async with self._db.read() as conn:
            await conn.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self._db.close()
