"""Who listens to the change log: every change once and in order, from where each one stopped.

A listener first hears what happened since then, and goes over to the live changes without a gap. What a change says is
encoded once for all. One that has heard everything is told from here, some at a time, without its own task having to
wake up: a thousand tasks would hold the loop for a third of a second. One that does not keep up is dropped and told so:
the log goes on without it, and it can come back with the last number that it has.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import anyio
import anyio.lowlevel

from api.live.liveness import Liveness
from api.live.mirror import Change, Mirror
from controller.ports.store import Gone, Store
from manifests.kinds import Object

BEHIND = 10_000
_ENCODED = 1_000
_PAGE = 500
_LOOK_SECONDS = 2.0  # a stream outlives its token by no more than this
_TURN = 32  # listeners that are told before others get their turn
_Name = tuple[int, str, str]  # a change as it goes out


class Wanted(Protocol):
    """Whether a listener is to hear of this key with this object, or, with None, of the bare name of one that is gone;
    of a session as if its machine stood so."""

    def __call__(self, key: str, item: Object | None, machine: Object | None = None, /) -> bool: ...


Push = Callable[[bytes], bool]
"""Writes to a listener past its task; False: it takes no more for now."""


class Ended(Exception):
    """The token that this stream was opened with opens the door no longer: sign in again."""


class Slow(Exception):
    """This listener did not keep up with the changes: come back with the last number that was received."""


@dataclass(frozen=True, slots=True)
class Told:
    """A change as it goes out: ``text`` is one JSON object with ``type resourceVersion object``, ``event`` a server-sent
    event with it (WHATWG HTML, 9.2)."""

    version: int
    type: str
    text: str
    event: bytes = field(init=False)

    def __post_init__(self) -> None:
        event = f"id: {self.version}\nevent: {self.type}\ndata: {self.text}\n\n".encode()
        object.__setattr__(self, "event", event)


@dataclass(eq=False, slots=True)
class _Listener:
    """``since`` is the last version that it was told of or asked for, ``said`` when that was; ``idle`` while it waits for
    news with nothing left to say. ``looks`` when it is time to see whether it may still listen: one timer now and then,
    not one a change."""

    wants: Wanted
    push: Push | None
    since: int
    said: float
    idle: bool = False
    queue: deque[Change] = field(default_factory=deque)
    woken: anyio.Event = field(default_factory=anyio.Event)
    trouble: Exception | None = None
    looks: bool = True
    _timer: asyncio.TimerHandle | None = None

    def look_in(self, seconds: float | None) -> None:
        """None: never."""
        if self._timer is not None:
            self._timer.cancel()
        self.looks, self._timer = False, None
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self.looks = True
        self.woken.set()


class Feed:
    def __init__(self, store: Store, mirror: Mirror, liveness: Liveness, *, behind: int = BEHIND) -> None:
        self._store, self._mirror, self._liveness, self._behind = store, mirror, liveness, behind
        self._listeners: set[_Listener] = set()
        self._encoded: dict[_Name, Told] = {}
        self._encoding = anyio.Lock()
        self._news: deque[Sequence[Change]] = deque()
        self._due = anyio.Event()
        mirror.published.append(self._publish)

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def close(self) -> None:
        """Ends what would never end by itself."""
        self._publish(())

    async def start(self, since: int | None) -> int:
        """From where a listener goes on; None: from now. Gone when the log does not reach back that far."""
        await self._mirror.fresh()
        if since is None:
            return self._mirror.known
        if self._mirror.recent(since) is None:
            await self._store.changes(since, 1)
        return since

    async def follow(self) -> None:
        """Tells the listeners, until cancelled."""
        while True:
            await self._due.wait()
            self._due = anyio.Event()
            while self._news:
                await self._tell(self._news.popleft())

    async def listen(
        self,
        since: int,
        wants: Wanted,
        heartbeat: float,
        still: Callable[[], Awaitable[bool]],
        push: Push | None = None,
    ) -> AsyncIterator[Sequence[Told]]:
        """What changes after ``since``, as much at a time as there is; nothing after each ``heartbeat`` seconds of
        silence. What ``push`` took is not given here. Ended once the listener may ``still`` listen no more; Gone, Slow,
        StoreError."""
        mine = _Listener(wants, push, since, anyio.current_time())
        self._listeners.add(mine)
        try:
            async for changes in self._missed(since):
                mine.since = changes[-1].version
                if told := await self._all(changes, wants):
                    yield told
            while True:
                mine.woken, mine.idle = anyio.Event(), False
                while mine.queue and not mine.looks:
                    changes = [mine.queue.popleft() for _ in range(min(len(mine.queue), _PAGE))]
                    if told := await self._all([change for change in changes if change.version > mine.since], wants):
                        mine.said = anyio.current_time()
                        yield told
                    mine.since = max(mine.since, changes[-1].version)
                if mine.trouble is not None:
                    raise mine.trouble
                if not mine.looks:
                    mine.idle = True
                    await mine.woken.wait()
                    continue
                if not await still():
                    raise Ended(str(Ended.__doc__))
                if anyio.current_time() - mine.said >= heartbeat:
                    mine.said = anyio.current_time()
                    yield ()
                mine.look_in(min(heartbeat, _LOOK_SECONDS))
        finally:
            mine.look_in(None)
            self._listeners.discard(mine)

    async def _tell(self, changes: Sequence[Change]) -> None:
        if self._listeners:
            await self._all(changes, _everything)  # encoded before anybody asks for it
        for turn, one in enumerate(tuple(self._listeners), 1):
            if one.trouble is None and not (one.idle and await self._pushed(one, changes)):
                self._queue(one, changes)
            if turn % _TURN == 0:
                await anyio.lowlevel.checkpoint()

    async def _pushed(self, one: _Listener, changes: Sequence[Change]) -> bool:
        """Whether it has been told, by now, of all of them that concern it."""
        if one.push is None:
            return False
        mine = changes if changes[0].version > one.since else [each for each in changes if each.version > one.since]
        chosen = [each for change in mine for each in _chosen(change, one.wants)]
        told = self._at_hand(chosen)
        if told is None:
            told = await self._encoding_of(chosen)
        if not one.idle or (told and not one.push(b"".join([each.event for each in told]))):
            return False
        one.since = max(one.since, changes[-1].version)
        if told:
            one.said = asyncio.get_running_loop().time()
        return True

    def _queue(self, one: _Listener, changes: Sequence[Change]) -> None:
        if len(one.queue) + len(changes) <= self._behind:
            one.queue.extend(changes)
            one.idle = False  # nothing may overtake these
            one.woken.set()
        else:
            self._drop(one, Slow(str(Slow.__doc__)))

    def _drop(self, one: _Listener, why: Exception) -> None:
        one.queue.clear()
        one.trouble, one.idle = why, False
        one.woken.set()

    async def _all(self, changes: Sequence[Change], wants: Wanted) -> list[Told]:
        """Those of them that are wanted."""
        chosen = [each for change in changes for each in _chosen(change, wants)]
        told = self._at_hand(chosen)
        return await self._encoding_of(chosen) if told is None else told

    def _at_hand(self, chosen: Sequence[Change]) -> list[Told] | None:
        """None: they are not all encoded yet."""
        found = [self._encoded.get(_name(one)) for one in chosen]
        return None if None in found else found  # type: ignore[return-value]

    async def _encoding_of(self, chosen: Sequence[Change]) -> list[Told]:
        """Whoever comes first encodes them, the others wait for that."""
        async with self._encoding:
            missing = [one for one in chosen if _name(one) not in self._encoded]
            known = {**self._encoded, **await self._encode(missing)}
            return [known[_name(one)] for one in chosen]

    async def _missed(self, since: int) -> AsyncIterator[Sequence[Change]]:
        """Up to now; what follows is in the listener's queue."""
        end = self._mirror.known
        recent = self._mirror.recent(since)
        for start in range(0, len(recent or ()), _PAGE):
            yield (recent or ())[start : start + _PAGE]
        while recent is None and since < end:
            entries = [entry for entry in await self._store.changes(since, _PAGE) if entry.resource_version <= end]
            now = self._mirror.objects
            yield [Change(entry.resource_version, entry.key, entry.type, now.get(entry.key), None) for entry in entries]
            since = entries[-1].resource_version

    def _publish(self, changes: Sequence[Change]) -> None:
        """None: some were missed."""
        if changes:
            self._news.append(changes)
            self._due.set()
            return
        self._news.clear()
        for one in self._listeners:
            if one.trouble is None:
                self._drop(one, Gone("changes were missed: list again"))

    async def _encode(self, changes: Sequence[Change]) -> dict[_Name, Told]:
        """They are kept for the others for a while."""
        shown = iter(await self._liveness.shown([change.now for change in changes if change.now is not None]))
        told: dict[_Name, Told] = {}
        for change in changes:
            kind, _, name = change.key.partition("/")
            gone = {"apiVersion": "ggnet/v1", "kind": kind, "metadata": {"name": name}}
            item = gone if change.now is None else next(shown).wire()
            text = json.dumps({"type": change.type, "resourceVersion": change.version, "object": item})
            told[_name(change)] = Told(change.version, change.type, text)
        self._encoded |= told
        while len(self._encoded) > _ENCODED:
            del self._encoded[next(iter(self._encoded))]
        return told


def _everything(key: str, item: Object | None, machine: Object | None = None) -> bool:
    return True


def _name(change: Change) -> _Name:
    return change.version, change.type, change.key


def _chosen(change: Change, wants: Wanted) -> Iterator[Change]:
    """The change as this listener should hear of it: what leaves its selection is deleted to it, what enters is added.

    Sessions that a machine takes along come before it, with the number before: whoever is cut off in between hears of
    them again.
    """
    for one in change.along:
        was, stands = (wants(one.key, one, machine) for machine in (change.before, change.now))
        if was and not stands:
            yield Change(change.version - 1, one.key, "DELETED", None, None)
        elif stands and not was and wants(one.key, one):
            yield Change(change.version - 1, one.key, "ADDED", one, None)
    mine = _itself(change, wants)
    if mine is not None:
        yield mine


def _itself(change: Change, wants: Wanted) -> Change | None:
    now, before, key = change.now, change.before, change.key
    if now is not None and wants(key, now):
        entered = before is not None and not wants(key, before)
        return replace(change, type="ADDED") if entered else change
    if now is None:
        return change if wants(key, before) else None
    if change.type == "ADDED" or not wants(key, before):
        return None
    return replace(change, type="DELETED", now=None)
