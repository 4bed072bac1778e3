"""Requests that may be sent twice: with an ``Idempotency-Key`` the second is answered as the first was.

The answer of a change is kept in the transaction that makes it (see decision 18). A refusal is kept too, since nothing was
done; a 5xx is not, nor is what depends on who asks just now (401, 403, 429).
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import Depends, Header, Request
from fastapi.responses import Response

from api import problems
from api.deps import Asking, Door, DoorOf, Principal
from controller.ports.requests import Asked, InProgress, Kept, Record, Ticket
from controller.ports.store import Applied, StoreError
from manifests.kinds import Object

Compose = Callable[[Applied, Mapping[str, Object]], Kept]
_KEPT = frozenset({400, 404, 409, 410, 412, 413, 422})
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="chosen by the client, a UUID for instance: the same request with the same key happens once (24 hours)",
    ),
]


@dataclass(slots=True)
class Attempt:
    """One request being carried out; without a ticket nobody may repeat it. ``kept`` is its answer, once composed."""

    ticket: Ticket | None = None
    kept: Kept | None = None

    def record(self, compose: Compose) -> Record | None:
        """For ``Store.put``."""
        if self.ticket is None:
            return None

        def composed(applied: Applied, objects: Mapping[str, Object]) -> Kept:
            self.kept = compose(applied, objects)
            return self.kept

        return Record(self.ticket, composed)


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request with or without a key."""

    request: Request
    door: Door
    who: Principal
    key: str | None

    async def once(self, act: Callable[[Attempt], Awaitable[Response]], *, dry_run: bool = False) -> Response:
        """What ``act`` answers, or what it answered the first time. A dry run changes nothing and is always run.
        KeyReused, InProgress, and what ``act`` raises."""
        if self.key is None or dry_run:
            return await act(Attempt())
        begun = await self.door.store.begin(await self._asked(self.key), self.door.clock.now())
        if isinstance(begun, Kept):
            return response(begun, replayed=True)
        attempt = Attempt(begun)
        try:
            return await self._first(begun, attempt, act)
        finally:
            with anyio.CancelScope(shield=True), suppress(StoreError):
                await self.door.store.abandon(begun)  # an answer that was kept stays

    async def _first(self, ticket: Ticket, attempt: Attempt, act: Callable[[Attempt], Awaitable[Response]]) -> Response:
        try:
            answered = await act(attempt)
        except problems.KNOWN as error:
            if isinstance(error, InProgress):
                raise
            answered = await problems.told(self.request, error)
            if answered.status_code not in _KEPT:
                raise
        if attempt.kept is None:  # nothing was to be changed
            await self.door.store.keep(ticket, Kept(answered.status_code, bytes(answered.body).decode()))
        return answered

    async def _asked(self, key: str) -> Asked:
        scope = self.request.scope
        digest = hashlib.sha256(scope["query_string"] + b"\0" + await self.request.body()).hexdigest()
        return Asked(self.who.manager, scope["method"], scope["path"], key, digest)


def repeatable(request: Request, door: DoorOf, who: Asking, key: Key = None) -> Repeatable:
    return Repeatable(request, door, who, key)


Again = Annotated[Repeatable, Depends(repeatable)]


def response(kept: Kept, *, replayed: bool = False) -> Response:
    headers = {"ETag": kept.etag} if kept.etag else {}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    media_type = problems.MEDIA_TYPE if kept.status >= 400 else "application/json"
    return Response(kept.body, kept.status, headers, media_type)
