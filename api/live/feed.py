"""Who listens to the change log: every change once and in order, from where each one stopped.

A listener first hears what happened since then, and goes over to the live changes without a gap. One that has heard
everything is told from here, some at a time, without its own task having to wake up: a thousand tasks would hold the loop
for a third of a second. One that does not keep up is dropped and told so: the log goes on without it, and it can come
back with the last number that it has.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from api.live.choice import EVERYTHING, Wanted
from api.live.liveness import Liveness
from api.live.mirror import Change, Mirror
from api.live.told import Telling, Told
from controller.ports.store import Gone, LogEntry, Store, StoreError

BEHIND = 10_000
LOOK_SECONDS = 2.0  # a stream outlives its token by no more than this
STILL_HERE = b": still here\n\n"
_PAGE = 500
_TURN = 32  # listeners that are told before others get their turn

Push = Callable[[bytes], bool]
"""Writes to a listener past its task; False: it takes no more for now."""


class Pass(Protocol):
    """What a stream was opened with."""

    def good(self) -> bool:
        """Whether it opens the door still, by what was read lately; False: that has to be asked for."""

    async def still(self) -> bool: ...


class Ended(Exception):
    """The token that this stream was opened with opens the door no longer: sign in again."""


class Slow(Exception):
    """This listener did not keep up with the changes: come back with the last number that was received."""


@dataclass(eq=False, slots=True)
class _Listener:
    """``since`` is the last version that it was told of or asked for, ``said`` when it last heard anything; ``idle`` while
    it waits for news with nothing left to say, ``asked`` while it is looked up whether it may listen still."""

    wants: Wanted
    heartbeat: float
    opened: Pass
    push: Push | None
    since: int
    said: float
    idle: bool = False
    asked: bool = False
    queue: deque[Change] = field(default_factory=deque)
    woken: anyio.Event = field(default_factory=anyio.Event)
    trouble: Exception | None = None
    dropped: float = 0.0
    cut: Callable[[], object] | None = None

    def wake(self) -> None:
        self.idle = False
        self.woken.set()

    def drop(self, why: Exception) -> None:
        self.queue.clear()
        self.dropped = self.dropped or anyio.current_time()
        self.trouble = why
        self.wake()


class Feed:
    def __init__(
        self,
        store: Store,
        mirror: Mirror,
        liveness: Liveness,
        *,
        behind: int = BEHIND,
        look_seconds: float = LOOK_SECONDS,
        refresh: Callable[[], Awaitable[object]] = anyio.lowlevel.checkpoint,
    ) -> None:
        """``refresh`` reads what passes are judged by, if that is due; what it cannot read stays as it was. StoreError."""
        self._store, self._mirror, self._behind, self._look_seconds = store, mirror, behind, look_seconds
        self._refresh = refresh
        self._telling = Telling(liveness)
        self._listeners: set[_Listener] = set()
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
        """Tells the listeners, and looks after them, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look, tasks)
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
        opened: Pass,
        push: Push | None = None,
        cut: Callable[[], object] | None = None,
    ) -> AsyncIterator[Sequence[Told]]:
        """What changes after ``since``, as much at a time as there is; nothing after each ``heartbeat`` seconds of
        silence. What ``push`` took is not given here. Ended once the door is closed to it; Gone, Slow, StoreError. A
        listener that takes none of this for a ``heartbeat`` is ``cut`` off."""
        mine = _Listener(wants, heartbeat, opened, push, since, anyio.current_time(), cut=cut)
        self._listeners.add(mine)
        try:
            async for changes in self._missed(since):
                mine.since = changes[-1].version
                if told := await self._telling.told(changes, wants):
                    yield told
            while mine.trouble is None:
                mine.woken = anyio.Event()
                if mine.queue:
                    changes = [mine.queue.popleft() for _ in range(min(len(mine.queue), _PAGE))]
                    told = await self._telling.told([one for one in changes if one.version > mine.since], wants)
                    mine.since = max(mine.since, changes[-1].version)
                elif self._silent(mine):
                    told = []
                else:
                    mine.idle = True
                    await mine.woken.wait()
                    continue
                if told or self._silent(mine):
                    mine.said = anyio.current_time()
                    yield told
            raise mine.trouble
        finally:
            self._listeners.discard(mine)

    def _silent(self, one: _Listener) -> bool:
        return anyio.current_time() - one.said >= one.heartbeat

    async def _look(self, tasks: TaskGroup) -> None:
        """Now and then, whether each may still listen, and that it hears something. All in one task, where that can be told
        at once: a thousand that woke up for it would stand before every change."""
        while True:
            await anyio.sleep(self._look_seconds)
            if self._listeners:
                with suppress(StoreError):
                    await self._refresh()
            for turn, one in enumerate(tuple(self._listeners), 1):
                if one.trouble is not None:
                    self._end(one)
                    continue
                if not one.asked and not one.opened.good():
                    one.asked = True
                    tasks.start_soon(self._ask, one)
                if self._silent(one):
                    self._beat(one)
                if turn % _TURN == 0:
                    await anyio.lowlevel.checkpoint()

    async def _ask(self, one: _Listener) -> None:
        """In a task of its own: the store may be slow to say it of this one."""
        try:
            if not await one.opened.still():
                one.drop(Ended(str(Ended.__doc__)))
        except Exception as error:  # noqa: BLE001 raised where this one listens, and nowhere else
            one.drop(error)
        finally:
            one.asked = False

    def _end(self, one: _Listener) -> None:
        """Its task is to say why it ends, and cannot while its client takes nothing."""
        if one.cut is not None and anyio.current_time() - one.dropped >= one.heartbeat:
            one.cut()

    def _beat(self, one: _Listener) -> None:
        if one.idle and one.push is not None and one.push(STILL_HERE):
            one.said = anyio.current_time()
        else:
            one.wake()

    async def _tell(self, changes: Sequence[Change]) -> None:
        if self._listeners:
            await self._telling.told(changes, EVERYTHING)  # encoded before anybody asks for it
        events: dict[Hashable, bytes] = {}
        for turn, one in enumerate(tuple(self._listeners), 1):
            if one.trouble is None and not (one.idle and await self._pushed(one, changes, events)):
                self._queue(one, changes)
            if turn % _TURN == 0:
                await anyio.lowlevel.checkpoint()

    async def _pushed(self, one: _Listener, changes: Sequence[Change], events: dict[Hashable, bytes]) -> bool:
        """Whether it has been told, by now, of all of them that concern it. ``events`` are what others were told."""
        if one.push is None:
            return False
        same = one.wants.same() if changes[0].version > one.since else None
        event = None if same is None else events.get(same)
        if event is None:
            mine = [each for each in changes if each.version > one.since]
            event = b"".join([each.event for each in await self._telling.told(mine, one.wants)])
            if same is not None:
                events[same] = event
        if not one.idle or (event and not one.push(event)):
            return False
        one.since = max(one.since, changes[-1].version)
        if event:
            one.said = anyio.current_time()
        return True

    def _queue(self, one: _Listener, changes: Sequence[Change]) -> None:
        if len(one.queue) + len(changes) <= self._behind:
            one.queue.extend(changes)
            one.wake()  # and no longer idle: nothing may overtake these
        else:
            one.drop(Slow(str(Slow.__doc__)))

    async def _missed(self, since: int) -> AsyncIterator[Sequence[Change]]:
        """Up to now; what follows is in the listener's queue."""
        end = self._mirror.known
        recent = self._mirror.recent(since)
        for start in range(0, len(recent or ()), _PAGE):
            yield (recent or ())[start : start + _PAGE]
        while recent is None and since < end:
            entries = [entry for entry in await self._store.changes(since, _PAGE) if entry.resource_version <= end]
            yield [self._past(entry) for entry in entries]
            since = entries[-1].resource_version

    def _past(self, entry: LogEntry) -> Change:
        """With the object as it stands by now: how it stood is known no longer."""
        now = None if entry.type == "DELETED" else self._mirror.objects.get(entry.key)
        return Change(entry.resource_version, entry.key, entry.type, now, None)

    def _publish(self, changes: Sequence[Change]) -> None:
        """None: some were missed."""
        if changes:
            self._news.append(changes)
            self._due.set()
            return
        self._news.clear()
        for one in self._listeners:
            if one.trouble is None:
                one.drop(Gone("changes were missed: list again"))
