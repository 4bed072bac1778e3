"""Requests that may be sent twice and must happen once (``Idempotency-Key``).

The answer is kept in the transaction that makes the change (``Store.put(record=...)``), so there is no moment at which one
of the two is there without the other.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from controller.ports.store import Applied
from manifests.kinds import Object


class KeyReused(Exception):
    """This Idempotency-Key was sent with another request: use a new key for a new request."""


class InProgress(Exception):
    """The first request with this Idempotency-Key is still under way: send it again in a moment."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with a key; ``digest`` is of all that decides what it does."""

    principal: str
    method: str
    path: str
    key: str
    digest: str

    @property
    def id(self) -> str:
        return hashlib.sha256("\0".join((self.principal, self.method, self.path, self.key)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to carry this request out; ``claim`` is another one each time that it is given."""

    id: str
    claim: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was given: the body is JSON."""

    status: int
    body: str
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """``compose`` makes the answer of what was done and of the objects as they stand then; pure, may be called again."""

    ticket: Ticket
    compose: Callable[[Applied, Mapping[str, Object]], Kept]


class Requests(Protocol):
    """Each method is one transaction. Any may raise StoreError."""

    async def begin(self, asked: Asked, now: datetime) -> Ticket | Kept:
        """The right to carry it out, or the answer that it had within the last day. KeyReused, InProgress.

        A ticket runs out after a minute: whoever held it has died, and changes nothing any more (InProgress in ``put``).
        """

    async def keep(self, ticket: Ticket, kept: Kept) -> None:
        """The answer of a request that changed nothing. Nothing happens if there is one, or the ticket has run out."""

    async def abandon(self, ticket: Ticket) -> None:
        """The request had no answer worth keeping: the next one with its key is the first. An answer kept stays."""
