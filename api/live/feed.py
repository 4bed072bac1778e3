"""Who listens to the change log: every change once and in order, from where each one stopped.

A listener first hears what happened since then, and goes over to the live changes without a gap. What a change says is
encoded once for all. One that does not keep up is dropped and told so: the log goes on without it, and it can come back
with the last number that it has.
"""

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
    queue: deque[Change] = field(default_factory=deque)
    woken: anyio.Event = field(default_factory=anyio.Event)
    trouble: Exception | None = None


class Feed:
    def __init__(self, store: Store, mirror: Mirror, liveness: Liveness, *, behind: int = BEHIND) -> None:
        self._store, self._mirror, self._liveness, self._behind = store, mirror, liveness, behind
        self._listeners: set[_Listener] = set()
        self._encoded: dict[tuple[int, str], Told] = {}
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
        mine, quiet, pause = _Listener(), 0.0, min(heartbeat, _LOOK_SECONDS)
        self._listeners.add(mine)
        try:
            async for changes in self._missed(since):
                since = changes[-1].version
                if told := await self._all(changes, wants):
                    yield told
            while await still():
                mine.woken = anyio.Event()
                while mine.queue:
                    changes = [mine.queue.popleft() for _ in range(min(len(mine.queue), _PAGE))]
                    if told := await self._all([change for change in changes if change.version > since], wants):
                        yield told
                if mine.trouble is not None:
                    raise mine.trouble
                with anyio.move_on_after(pause) as silence:
                    await mine.woken.wait()
                quiet = quiet + pause if silence.cancelled_caught else 0.0
                if quiet >= heartbeat:
                    quiet = 0.0
                    yield ()
            raise Ended(str(Ended.__doc__))
        finally:
            self._listeners.discard(mine)

    async def _all(self, changes: Sequence[Change], wants: Wanted) -> list[Told]:
        return [await self._tell(told) for change in changes if (told := _chosen(change, wants)) is not None]

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

    async def _tell(self, change: Change) -> Told:
        found = self._encoded.get((change.version, change.type))
        if found is None:
            found = await self._encode(change)
            self._encoded[change.version, change.type] = found
            if len(self._encoded) > _ENCODED:
                del self._encoded[next(iter(self._encoded))]
        return found

    async def _encode(self, change: Change) -> Told:
        if change.now is None:
            kind, _, name = change.key.partition("/")
            item = {"apiVersion": "ggnet/v1", "kind": kind, "metadata": {"name": name}}
        else:
            (seen,) = await self._liveness.shown([change.now])
            item = seen.wire()
        told = {"type": change.type, "resourceVersion": change.version, "object": item}
        return Told(change.version, change.type, json.dumps(told))


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
