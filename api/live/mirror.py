"""All objects as of the newest resourceVersion, in this process: what reads are answered from.

Before it answers, it asks the store for the newest version; those who ask at the same time share one question. So a read
sees every write that was acknowledged before it, by whichever process, and costs no query of its own. While the store
does not answer, what was known is told, and said to be that.

``before`` keeps what recent changes replaced, so that the pages of one list can show one moment.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from typing import Literal

import anyio
import anyio.lowlevel
import structlog

from api.live.seats import Seats
from api.live.shelf import Shelf
from controller.ports.clock import Clock
from controller.ports.hints import Hints
from controller.ports.store import Gone, News, Store, StoreError
from manifests.kinds import KINDS, Object
from manifests.machine import Machine
from manifests.neighbours import Neighbours
from manifests.session import Session

log = structlog.get_logger("api")
_RETRY_SECONDS = 1.0
_REMEMBERED = 50_000
_CHUNK = 200


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the change log; ``now`` and ``before`` are the object as it stands and as it was known until then.

    ``along`` are the sessions of a machine whose labels are others now: who may see them may have changed with that.
    ``machine`` is that of a session as it stood then, by which is told whose the session was.
    """

    version: int
    key: str
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    now: Object | None
    before: Object | None
    along: tuple[Object, ...] = ()
    machine: Object | None = None


class Mirror:
    """``known`` is the resourceVersion that ``objects`` are at. ``published`` is called with every batch of changes."""

    def __init__(self, store: Store, clock: Clock, hints: Hints, *, remembered: int = _REMEMBERED) -> None:
        self.objects: dict[str, Object] = {}
        self.known = 0
        self.lost = False
        self.neighbours = Neighbours()
        self._seats = Seats()
        self._shelves = {kind: Shelf() for kind in KINDS}
        self.published: list[Callable[[Sequence[Change]], None]] = []
        self._store, self._clock, self._hints = store, clock, hints
        self._before: deque[Change] = deque(maxlen=remembered)
        self._loaded = False
        self._turn = anyio.Lock()
        self._asked = count(1)
        self._began = 0
        self._woken = anyio.Event()
        hints.heard(self._wake)

    async def fresh(self) -> bool:
        """Afterwards it holds whatever was committed before the call; False: the store does not answer, and it holds
        what was known. StoreError when nothing is known yet."""
        if not (self.lost and self._loaded):
            await self._joined()
        return not self.lost

    async def follow(self) -> None:
        """Looks by itself, at every hint and every now and then, until cancelled: for those who only listen."""
        while True:
            self._woken = anyio.Event()
            with suppress(StoreError):
                await self._joined()
            with anyio.move_on_after(_RETRY_SECONDS if self.lost else self._hints.poll_seconds):
                await (anyio.sleep_forever() if self.lost else self._woken.wait())

    async def admit(self, news: Sequence[News]) -> None:
        """Takes in what was committed since ``known``. Gone when something in between is missing."""
        for start in range(0, len(news), _CHUNK):
            if start:
                await anyio.lowlevel.checkpoint()
            changes = [change for one in news[start : start + _CHUNK] for change in self._take(one)]
            self._before.extend(changes)
            if changes:
                self._publish(changes)

    def recent(self, since: int) -> Sequence[Change] | None:
        """What has changed after that resourceVersion; None when that is too long ago to be remembered."""
        oldest = self._before[0].version if self._before else self.known + 1
        if not oldest - 1 <= since <= self.known:
            return None
        return tuple(islice(self._before, len(self._before) - (self.known - since), None))

    def at(self, kind: str, version: int) -> Shelf:
        """The objects of a kind as they were at that resourceVersion. Gone when that is too long ago."""
        since = self.recent(version)
        if since is None:
            raise Gone(f"the list as of resourceVersion {version} is no longer known: list again from the start")
        found = self._shelves[kind].copy()
        for change in reversed(since):
            theirs, _, name = change.key.partition("/")
            if theirs == kind:
                found.put(name, change.before)
        return found

    def _wake(self) -> None:
        self._woken.set()

    async def _joined(self) -> None:
        """Looks, or waits for the end of a look that began after the call. StoreError when nothing is known at all."""
        mine = next(self._asked)
        async with self._turn:
            if self._began > mine:
                return
            self._began = next(self._asked)
            try:
                await self._look()
            except StoreError as error:
                self._answers(False, str(error))
                if not self._loaded:
                    raise
            else:
                self._answers(True)

    def _answers(self, answers: bool, reason: str = "") -> None:
        if self.lost and answers:
            log.warning("store is back")
        elif not self.lost and not answers:
            log.warning("store lost", reason=reason)
        self.lost = not answers

    async def _look(self) -> None:
        if self._loaded:
            try:
                if await self._store.pulse() != self.known:
                    await self.admit(await self._store.news(self.known))
                return
            except Gone:
                pass  # it was away for too long
        await self._load()

    async def _load(self) -> None:
        """All anew; who listens is told that something may be missing in between."""
        objects, known = await self._store.list()
        neighbours = await anyio.to_thread.run_sync(Neighbours, objects)
        self.objects, self.neighbours, self.known = {one.key: one for one in objects}, neighbours, known
        self._seats = Seats(objects)
        shelved: dict[str, list[Object]] = {kind: [] for kind in KINDS}
        for one in objects:
            shelved[one.kind].append(one)
        self._shelves = {kind: Shelf(several) for kind, several in shelved.items()}
        self._before.clear()
        self._loaded = True
        self._publish(())

    def _publish(self, changes: Sequence[Change]) -> None:
        for publish in self.published:
            publish(changes)

    def _take(self, one: News) -> Iterator[Change]:
        entry = one.entry
        if entry.resource_version <= self.known:
            return
        if entry.resource_version != self.known + 1:
            raise Gone(f"the copy of the objects is at {self.known}, the news go on at {entry.resource_version}")
        before = self.objects.pop(entry.key, None)
        # It may be gone by now, and its deletion further down; or another of its name stands there, which is told there.
        now = None if entry.type == "DELETED" else one.object or before
        if now is not None:
            self.objects[entry.key] = now
        self._shelves[entry.key.partition("/")[0]].put(entry.key.partition("/")[2], now)
        self.neighbours.note(entry.key, now)
        self._seats.note(before, now)
        self.known = entry.resource_version
        along, machine = self._along(before, now), self._machine(now or before)
        yield Change(entry.resource_version, entry.key, entry.type, now, before, along, machine)

    def _machine(self, item: Object | None) -> Object | None:
        return self.objects.get(f"Machine/{item.spec.machine}") if isinstance(item, Session) else None

    def _along(self, before: Object | None, now: Object | None) -> tuple[Object, ...]:
        if not isinstance(now, Machine) or before is None or before.metadata.labels == now.metadata.labels:
            return ()
        return tuple(self.objects[key] for key in self._seats.of(now.name))
