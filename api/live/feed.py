"""Who listens to the change log: every change once and in order, from where each one stopped.

A listener first hears what happened since then, and goes over to the live changes without a gap. What a change says is
encoded once for all. One that does not keep up is dropped and told so: the log goes on without it, and it can come back
with the last number that it has.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import anyio

from api.live.liveness import Liveness
from api.live.mirror import Change, Mirror
from controller.ports.store import Gone, Store
from manifests.kinds import Object

BEHIND = 10_000
_ENCODED = 1_000
_PAGE = 500
_LOOK_SECONDS = 2.0  # a stream outlives its token by no more than this

Wanted = Callable[[str, Object | None], bool]
"""Whether a listener is to hear of this key with this object, or, with None, of the bare name of one that is gone."""


class Ended(Exception):
    """The token that this stream was opened with opens the door no longer: sign in again."""


class Slow(Exception):
    """This listener did not keep up with the changes: come back with the last number that was received."""


@dataclass(frozen=True, slots=True)
class Told:
    """A change as it goes out: ``text`` is one JSON object with ``type resourceVersion object``."""

    version: int
    type: str
    text: str


@dataclass(eq=False, slots=True)
class _Listener:
    """``looks`` when it is time to see whether it may still listen: one timer now and then, not one a change."""

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
        self._encoded: dict[tuple[int, str], Told] = {}
        self._encoding = anyio.Lock()
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

    async def listen(
        self, since: int, wants: Wanted, heartbeat: float, still: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[Sequence[Told]]:
        """What changes after ``since``, as much at a time as there is; nothing after each ``heartbeat`` seconds of
        silence. Ended once the listener may ``still`` listen no more; Gone, Slow, StoreError."""
        mine, said = _Listener(), anyio.current_time()
        self._listeners.add(mine)
        try:
            async for changes in self._missed(since):
                since = changes[-1].version
                if told := await self._all(changes, wants):
                    yield told
            while True:
                mine.woken = anyio.Event()
                while mine.queue:
                    changes = [mine.queue.popleft() for _ in range(min(len(mine.queue), _PAGE))]
                    if told := await self._all([change for change in changes if change.version > since], wants):
                        said = anyio.current_time()
                        yield told
                if mine.trouble is not None:
                    raise mine.trouble
                if not mine.looks:
                    await mine.woken.wait()
                    continue
                if not await still():
                    raise Ended(str(Ended.__doc__))
                if anyio.current_time() - said >= heartbeat:
                    said = anyio.current_time()
                    yield ()
                mine.look_in(min(heartbeat, _LOOK_SECONDS))
        finally:
            mine.look_in(None)
            self._listeners.discard(mine)

    async def _all(self, changes: Sequence[Change], wants: Wanted) -> list[Told]:
        """Those of them that are wanted. Whoever comes first encodes them, the others wait for that."""
        chosen = [told for change in changes if (told := _chosen(change, wants)) is not None]
        found = [self._encoded.get((one.version, one.type)) for one in chosen]
        if all(found):
            return [told for told in found if told is not None]
        async with self._encoding:
            missing = [one for one in chosen if (one.version, one.type) not in self._encoded]
            known = {**self._encoded, **await self._encode(missing)}
            return [known[one.version, one.type] for one in chosen]

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
        for one in self._listeners:
            if one.trouble is not None:
                continue
            if changes and len(one.queue) + len(changes) <= self._behind:
                one.queue.extend(changes)
            else:
                one.queue.clear()
                one.trouble = Slow(str(Slow.__doc__)) if changes else Gone("changes were missed: list again")
            one.woken.set()

    async def _encode(self, changes: Sequence[Change]) -> dict[tuple[int, str], Told]:
        """By version and type. They are kept for the others for a while."""
        shown = iter(await self._liveness.shown([change.now for change in changes if change.now is not None]))
        told: dict[tuple[int, str], Told] = {}
        for change in changes:
            kind, _, name = change.key.partition("/")
            gone = {"apiVersion": "ggnet/v1", "kind": kind, "metadata": {"name": name}}
            item = gone if change.now is None else next(shown).wire()
            text = json.dumps({"type": change.type, "resourceVersion": change.version, "object": item})
            told[change.version, change.type] = Told(change.version, change.type, text)
        self._encoded |= told
        while len(self._encoded) > _ENCODED:
            del self._encoded[next(iter(self._encoded))]
        return told


def _chosen(change: Change, wants: Wanted) -> Change | None:
    """The change as this listener should hear of it: what leaves its selection is deleted to it, what enters is added."""
    now, before, key = change.now, change.before, change.key
    if now is not None and wants(key, now):
        entered = before is not None and not wants(key, before)
        return replace(change, type="ADDED") if entered else change
    if now is None:
        return change if wants(key, before) else None
    if change.type == "ADDED" or not wants(key, before):
        return None
    return replace(change, type="DELETED", now=None)
