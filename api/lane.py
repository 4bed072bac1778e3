"""The quick lane: GETs of one object that came while the store was asked are answered together, without a task of their own.

Here is answered what memory can answer with 200 or 304, by the functions that the long way has. All else begins there: a
refusal, a credential or a quota that must be asked for, an object that is not there or that no controller looks after.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import anyio.lowlevel
from starlette.datastructures import State
from starlette.types import Scope

from api import access, peer, permission
from api.deps import Door, Principal, acting, identify, recognised, token_of
from api.edge import fresh, packing
from api.edge.book import Book
from api.edge.cors import Origins
from api.edge.meter import Meter, Purse
from api.edge.outflow import Headers
from api.edge.ring import request_id
from api.express import SPOTS, Spot
from api.permission import Visible
from api.ready import Form, Ready
from controller.ports.store import Lease, StoreError
from manifests.kinds import Object

_TURN = 32  # answers before others get their turn
_PATIENCE = 2.0
_LONG = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})


class Line(Protocol):
    """The connection, and the one request on it that is being answered."""

    scope: Scope

    def open(self) -> bool:
        """Whether an answer can be written now."""

    def answer(self, status: int, headers: Headers, rest: bytes) -> None: ...

    def begin(self) -> None:
        """The long way."""


@dataclass(slots=True)
class _Asked:
    line: Line
    scope: Scope
    headers: Mapping[bytes, bytes]
    spot: Spot
    key: str
    began: float


@dataclass(frozen=True, slots=True)
class _Caller:
    """``purse`` None: nobody is counted."""

    who: Principal
    sees: Visible
    purse: Purse | None


@dataclass(slots=True)
class _Turn:
    """What is the same for all that are answered in one turn of the loop. ``gone`` is None where nothing can be told."""

    now: float
    gone: Mapping[str, Lease | None] | None
    callers: dict[tuple[bytes, str], _Caller | None] = field(default_factory=dict)


class Lane:
    """Closed where each request is to be traced."""

    def __init__(self, state: State, door: Door, meter: Meter | None, book: Book, *, traced: bool) -> None:
        self._state, self._door, self._meter, self._book = state, door, meter, book
        self._proxies, self._origins = door.settings.proxies or (), Origins(door.settings.origins)
        self._ready = Ready(door)
        self._waiting: deque[_Asked] = deque()
        self._due = anyio.Event()
        self._open, self._traced = False, traced

    def take(self, line: Line) -> bool:
        """Whether it is answered from here."""
        scope = line.scope
        if not self._open or scope["method"] != "GET" or scope["query_string"] or self._state.identify is not identify:
            return False
        parent, _, name = scope["path"].rpartition("/")
        spot = SPOTS.get(parent)
        if spot is None or not name:
            return False
        headers = dict(scope["headers"])
        if len(headers) < len(scope["headers"]) or not _LONG.isdisjoint(headers):
            return False
        self._waiting.append(_Asked(line, scope, headers, spot, f"{spot.kind}/{name}", self._door.clock.monotonic()))
        self._due.set()
        return True

    async def follow(self) -> None:
        """Answers, until cancelled; what waits then goes the long way."""
        now: deque[_Asked] = deque()
        self._open = not self._traced
        try:
            while True:
                await self._due.wait()
                self._due = anyio.Event()
                now, self._waiting = self._waiting, now
                await self._answer(now)
        finally:
            self._open = False
            for one in (*now, *self._waiting):
                one.line.begin()

    async def _answer(self, asked: deque[_Asked]) -> None:
        """Empties it."""
        with self._book.metrics.in_flight.track_inprogress():
            gone = await self._looked(asked)
            while asked:
                turn = _Turn(self._door.clock.now().timestamp(), gone)
                for _ in range(min(_TURN, len(asked))):
                    if gone is None or not await self._answered(asked[0], turn):
                        asked[0].line.begin()
                    asked.popleft()
                await anyio.lowlevel.checkpoint()

    async def _looked(self, asked: deque[_Asked]) -> Mapping[str, Lease | None] | None:
        """Whose controllers are gone, once all that is judged by is as fresh as the long way has it; None: it is not."""
        door = self._door
        with anyio.move_on_after(_PATIENCE):
            try:
                await door.identity.known.fresh()
                await door.bound.fresh()
                if await door.mirror.fresh():
                    objects = door.mirror.objects
                    return await door.liveness.gone([objects[one.key] for one in asked if one.key in objects])
            except StoreError:
                return None
        return None

    async def _answered(self, one: _Asked, turn: _Turn) -> bool:
        door, key, scope = self._door, one.key, one.scope
        item = door.mirror.objects.get(key)
        if item is None or door.mirror.lost or (turn.gone and door.liveness.seen(item, turn.gone) is not item):
            return False
        form = self._form(one, item)
        answer = self._ready.kept(key, item, form) or await self._ready.make(key, item, form)
        caller = self._caller(one, turn)
        if caller is None or not caller.sees(item) or not one.line.open():
            return False
        paid = caller.purse.spend(turn.now) if caller.purse is not None else []
        if paid is None:
            return False
        scope["route"], scope["principal"] = one.spot.place, caller.who
        scope["address"], scope["request_id"] = peer.address(scope, self._proxies), request_id(one.headers)
        own = [*self._origins.opened(one.headers), (b"x-request-id", scope["request_id"].encode()), *paid]
        one.line.answer(answer.status, own, answer.rest)
        self._book.enter(scope, answer.status, door.clock.monotonic() - one.began, "GET")
        return True

    def _form(self, one: _Asked, item: Object) -> Form:
        headers, encrypted = one.headers, peer.encrypted(one.scope, self._proxies)
        has = headers.get(b"if-none-match")
        if has and fresh.has(has, b'"%d"' % (item.metadata.resource_version or 0)):
            return Form(packed=False, unchanged=True, encrypted=encrypted)
        return Form(packing.wanted(headers.get(b"accept-encoding", b"")), unchanged=False, encrypted=encrypted)

    def _caller(self, one: _Asked, turn: _Turn) -> _Caller | None:
        """None: who cannot be told from here, or may not read this kind."""
        given, at = one.headers.get(b"authorization", b""), one.spot.place.path
        if (given, at) not in turn.callers:
            turn.callers[given, at] = self._recognised(given, at)
        return turn.callers[given, at]

    def _recognised(self, given: bytes, at: str) -> _Caller | None:
        door = self._door
        found = recognised(door, token_of(given.decode("latin-1")) or "")
        if found is None:
            return None
        who = acting(found, "", "")
        purse = self._meter.purse(given, who.name) if self._meter is not None else None
        if (purse is None and self._meter is not None) or not access.allows(door, who, ("GET", at)):
            return None
        return _Caller(who, permission.visible(door, who), purse)
