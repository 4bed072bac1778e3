"""Manifests come in: a source is read whole, judged whole, stored as one transaction and recorded with its verdict."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from controller.core.resolve import settled as converged
from controller.core.sources import Verdict, judge
from controller.ports.audit import Actor
from controller.ports.clock import Clock
from controller.ports.sources import Snapshot, Source, SourceError
from controller.ports.store import Conflict, Event, Revision, Store
from manifests.kinds import Object

log = structlog.get_logger()


@dataclass(slots=True)
class Intake:
    """One source's way into the store.

    ``waiting`` are the keys that have not converged yet, each with the resourceVersion before which a pass that read it
    knew nothing of what the source says of it.
    """

    source: Source
    store: Store
    clock: Clock
    woken: Callable[[], None]
    waiting: dict[str, int] = field(default_factory=dict)
    _taken: str = ""
    _judged: tuple[str, bool] = ("", False)
    _accepted: bool = False
    _told: str = ""
    _left: frozenset[str] = frozenset()

    @property
    def manager(self) -> str:
        return f"git:{self.source.name}"

    async def take(self) -> None:
        """Reads the source; what is new is judged and, when good, stored. A failed read changes nothing.

        Without anything new, what was overridden by hand since is put back: the source wins at its next reading.
        """
        try:
            snapshot = await self.source.read()
        except SourceError as error:
            await self._failed(str(error))
            return
        self._told = ""
        known = {one.sha: one for one in await self.store.revisions(self.source.name)}
        approved = snapshot.sha in known and known[snapshot.sha].approved
        overridden = await self.store.overridden(self.manager)
        fresh = (snapshot.sha, approved) != self._judged
        if not fresh and not (self._accepted and overridden.keys() - self._left):
            return
        began = self.clock.now()
        stored, _ = await self.store.list()
        with no_collection():
            verdict = judge(snapshot.files, self.manager, stored, approved=approved)
        if verdict.verdict == "accepted" and not await self._put(snapshot.sha, verdict.objects, overridden):
            return
        if fresh:
            await self._judge(snapshot, verdict, began, approved=approved)
        self.woken()
        await self.arrived({})

    async def _put(self, sha: str, objects: Sequence[Object], overridden: Mapping[str, str]) -> bool:
        """Whether nobody was in between."""
        now = self.clock.now()
        try:
            by = Actor(self.manager, request_id=sha)
            applied = await self.store.put(objects, self.manager, now, prune=True, by=by)
        except Conflict as error:
            await self._failed(str(error))
            return False
        if not self._judged[0]:
            self.waiting = await self._left_over()
        written = (*applied.created, *applied.changed, *applied.deleted)
        self.waiting |= dict.fromkeys(written, applied.resource_version - len(written))
        why = f"put back as the source {self.source.name} says it"
        if ended := overridden.keys() & set(written):
            text = f"it had been changed by force (who did is in the audit log); {why}"  # where a name can be forgotten
            await self.store.tell([Event(key, "Normal", "OverrideEnded", text, now, now) for key in ended])
        self._left = frozenset(await self.store.overridden(self.manager)) if overridden else frozenset()
        return True

    async def _judge(self, snapshot: Snapshot, verdict: Verdict, at: datetime, *, approved: bool) -> None:
        """The verdict is recorded with the revision."""
        told = tuple(problem.wire() for problem in verdict.problems)
        found, source = verdict.verdict, self.source.name
        await self.store.record(
            Revision(source, snapshot.sha, snapshot.author, snapshot.message, found, told, at, approved=approved)
        )
        self._accepted = found == "accepted"
        if self._accepted:
            self._taken = snapshot.sha
        self._judged = (snapshot.sha, approved)
        log.info("source read", source=source, sha=snapshot.sha[:12], verdict=found, problems=len(told))

    async def arrived(self, settled: Mapping[str, int]) -> None:
        """These keys have converged as they were read at these resourceVersions; with a revision's last, it has."""
        for key, version in settled.items():
            if version > self.waiting.get(key, version):
                del self.waiting[key]
        if self._taken and not self.waiting:
            await self.store.converged(self.source.name, self._taken, self.clock.now())
            self._taken = ""

    async def _left_over(self) -> dict[str, int]:
        """What an earlier process took in and did not finish."""
        stored, _ = await self.store.list()
        return {one.key: 0 for one in stored if one.metadata.managed_by == self.manager and not converged(one)}

    async def _failed(self, why: str) -> None:
        """Told once a reason: a source that stays away must not fill the log."""
        if why == self._told:
            return
        self._told = why
        now = self.clock.now()
        log.warning("source not read", source=self.source.name, why=why)
        await self.store.tell([Event(f"Source/{self.source.name}", "Warning", "SourceUnreadable", why, now, now)])


@contextmanager
def no_collection() -> Iterator[None]:
    """A set read whole makes hundreds of thousands of objects that all stay: to look for garbage among them again and
    again would take as long as a third of the reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
