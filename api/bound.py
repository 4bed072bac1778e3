"""Who is bound to what, kept in this process: read again at most once a second, and at once after a change made here.

Where the store does not answer, what was last read goes on counting: nobody can change it then.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import anyio
import anyio.lowlevel

from api import selectors
from api.errors import Malformed
from api.selectors import Matches
from api.verbs import BINDABLE, Verb, implied
from controller.ports.audit import Entry, Told
from controller.ports.clock import Clock
from controller.ports.permission import Binding, Bindings
from controller.ports.store import StoreError

KEPT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Grant:
    """A binding, ready to be asked."""

    verbs: frozenset[Verb]
    matches: Matches
    narrows: bool


class Bound:
    """``accounts`` reads anew who has an account."""

    def __init__(
        self,
        store: Bindings,
        clock: Clock,
        poll_seconds: float = KEPT_SECONDS,
        *,
        accounts: Callable[[], Awaitable[object]] = anyio.lowlevel.checkpoint,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._grants: Mapping[str, tuple[Grant, ...]] = {}
        self._asked: float | None = None
        self._reading = anyio.Lock()

    def of(self, user: str) -> tuple[Grant, ...]:
        """As of the last ``fresh``."""
        return self._grants.get(user, ())

    async def fresh(self) -> None:
        """StoreError if it has never been read. One reader at a time; the others go on with what is known."""
        if self._asked is not None and (self._recent() or self._reading.locked()):
            return
        async with self._reading:
            if self._recent():
                return
            try:
                await self._read()
            except StoreError:
                if self._asked is None:
                    raise
                self._asked = self._clock.monotonic()

    async def follow(self) -> None:
        """Reads by itself, until cancelled: for those who listen without asking again."""
        while True:
            with suppress(StoreError):
                await self.fresh()
            await self._clock.sleep(max(KEPT_SECONDS, self._poll_seconds))

    def _recent(self) -> bool:
        return self._asked is not None and self._clock.monotonic() - self._asked < KEPT_SECONDS

    async def all(self) -> Sequence[Binding]:
        return await self._store.bindings()

    async def bind(self, binding: Binding, told: Entry) -> None:
        """NotFound, TooMany."""
        await self._store.bind(binding, told)
        await self.look()

    async def unbind(self, binding_id: str, told: Told[Binding], *, widen: bool = False) -> Binding:
        """NotFound, Widens."""
        gone = await self._store.unbind(binding_id, told, widen=widen)
        await self.look()
        return gone

    async def look(self) -> None:
        """Now: a reading that began before a change must not have the last word. StoreError."""
        async with self._reading:
            await self._read()

    async def _read(self) -> None:
        found: dict[str, tuple[Grant, ...]] = {}
        for binding in await self._store.bindings():
            found[binding.user] = (*found.get(binding.user, ()), _grant(binding))
        if self._grants.keys() - found.keys():  # gone with their accounts: who still passed for a user would see everything
            await self._accounts()
        self._grants, self._asked = found, self._clock.monotonic()


def _grant(binding: Binding) -> Grant:
    known = [Verb(verb) for verb in binding.verbs if verb in BINDABLE]
    verbs = frozenset[Verb]().union(*map(implied, known))
    try:
        return Grant(verbs, selectors.parse(binding.selector), binding.narrows)
    except Malformed:  # written by another version: it gives nothing, and still narrows
        return Grant(verbs, lambda labels: False, binding.narrows)
