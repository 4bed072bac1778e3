"""What every request is judged by, kept in this process: who may come in, and what was revoked.

A look at the database a request would be the slowest part of most. So it is good for a second: a change takes effect on
other replicas within that second, and at once where it was made. Who asks when it is nearly over has it looked at anew
without waiting for that; who comes later than that waits. While the database does not answer, what was last known holds;
what was revoked stays so until it expires by itself.
"""

from collections.abc import Mapping
from datetime import datetime

import anyio
import structlog

from api.auth.keys import Keyring
from api.token import TokenError
from controller.ports.accounts import ApiKey, Directory, Standing
from controller.ports.clock import Clock
from controller.ports.logins import IdentityStore, Revocations
from controller.ports.store import StoreError

_SECONDS = 1.0
_EARLY = 0.3
_AFTER_FAILURE = 5.0
_PATIENCE = 2.0


class Known:
    """``epoch`` rises whenever something that was believed before must be looked at anew."""

    def __init__(self, store: IdentityStore, revocations: Revocations, keyring: Keyring, clock: Clock) -> None:
        self._store = store
        self._revocations = revocations
        self._keyring = keyring
        self._clock = clock
        self._directory: Directory | None = None
        self._revoked: dict[str, datetime] = {}
        self._due = float("-inf")
        self._looking = anyio.Lock()
        self._soon = anyio.Event()
        self.epoch = 0

    async def fresh(self) -> None:
        """At most a second old, but for a database that does not answer. StoreError when nothing is known yet."""
        now = self._clock.monotonic()
        if now >= self._due - _EARLY:
            self._soon.set()
        if now < self._due or (self._looking.locked() and now < self._due + _SECONDS):
            return
        async with self._looking:
            if self._clock.monotonic() >= self._due:
                await self._try()
        if self._directory is None:
            raise StoreError("the accounts have not been read yet")

    async def follow(self) -> None:
        """Looks ahead for those who ask, until cancelled."""
        while True:
            await self._soon.wait()
            async with self._looking:
                if self._clock.monotonic() >= self._due - _EARLY:
                    await self._try()
            self._soon = anyio.Event()

    async def look(self) -> None:
        """Now: something was changed here. StoreError."""
        async with self._looking:
            await self._look()

    def user(self, uid: str) -> Standing | None:
        """None when there is none, or they are shut out."""
        found = self._directory.users.get(uid) if self._directory else None
        return None if found is None or found.disabled else found

    def key(self, id: str) -> ApiKey | None:
        return self._directory.keys.get(id) if self._directory else None

    def users(self) -> Mapping[str, Standing]:
        """By uid, those who are shut out included."""
        return self._directory.users if self._directory else {}

    def revoked(self, *ids: str) -> bool:
        return any(id in self._revoked for id in ids)

    async def _try(self) -> None:
        try:
            with anyio.fail_after(_PATIENCE):
                await self._look()
        except (StoreError, TimeoutError) as error:
            self._due = self._clock.monotonic() + _AFTER_FAILURE
            structlog.get_logger("api.auth").error("accounts not read", error=str(error) or "no answer in time")

    async def _look(self) -> None:
        now = self._clock.now()
        revoked = await self._revocations.revoked(now)
        self._revoked = {id: until for id, until in {**self._revoked, **revoked}.items() if until > now}
        known = None if self._directory is None else self._directory.version
        newer = await self._store.directory(known)
        if newer is not None:
            self._directory = newer
            self.epoch += 1
        self._due = self._clock.monotonic() + _SECONDS
        try:
            self.epoch += self._keyring.reload()
        except TokenError as error:
            structlog.get_logger("api.auth").error("signing keys not read", error=str(error))
