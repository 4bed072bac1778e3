"""Manifests come in: a source is read whole, judged whole, stored as one transaction and recorded with its verdict."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from controller.core.sources import judge
from controller.ports import Clock, Conflict, Event, Revision, Source, SourceError, Store

log = structlog.get_logger()


@dataclass(slots=True)
class Intake:
    """One source's way into the store. ``waiting`` are the keys of its last revision that have not converged yet."""

    source: Source
    store: Store
    clock: Clock
    woken: Callable[[], None]
    waiting: set[str] = field(default_factory=set)
    _taken: str = ""
    _judged: tuple[str, bool] = ("", False)
    _told: str = ""

    @property
    def manager(self) -> str:
        return f"git:{self.source.name}"

    async def take(self) -> None:
        """Reads the source; what is new is judged and, when good, stored. A failed read changes nothing."""
        try:
            snapshot = await self.source.read()
        except SourceError as error:
            await self._failed(str(error))
            return
        self._told = ""
        known = {one.sha: one for one in await self.store.revisions(self.source.name)}
        approved = snapshot.sha in known and known[snapshot.sha].approved
        if (snapshot.sha, approved) == self._judged:
            return
        now = self.clock.now()
        stored, _ = await self.store.list()
        with _no_collection():
            verdict = judge(snapshot.files, self.manager, stored, approved=approved)
        told = tuple(problem.wire() for problem in verdict.problems)
        revision = Revision(
            self.source.name, snapshot.sha, snapshot.author, snapshot.message, verdict.verdict, told, now, approved=approved
        )
        if verdict.verdict == "accepted":
            try:
                applied = await self.store.put(verdict.objects, self.manager, now, prune=True)
            except Conflict as error:
                await self._failed(str(error))
                return
            self.waiting = {*applied.created, *applied.changed, *applied.deleted}
            self._taken = snapshot.sha
        await self.store.record(revision)
        self._judged = (snapshot.sha, approved)
        log.info("source read", source=self.source.name, sha=snapshot.sha[:12], verdict=verdict.verdict, problems=len(told))
        self.woken()
        await self.arrived(frozenset())

    async def arrived(self, settled: frozenset[str]) -> None:
        """These keys have converged; with the last of a revision's, the revision has."""
        self.waiting -= settled
        if self._taken and not self.waiting:
            await self.store.converged(self.source.name, self._taken, self.clock.now())
            self._taken = ""

    async def _failed(self, why: str) -> None:
        """Told once a reason: a source that stays away must not fill the log."""
        if why == self._told:
            return
        self._told = why
        now = self.clock.now()
        log.warning("source not read", source=self.source.name, why=why)
        await self.store.tell([Event(f"Source/{self.source.name}", "Warning", "SourceUnreadable", why, now, now)])


@contextmanager
def _no_collection() -> Iterator[None]:
    """A set read whole makes hundreds of thousands of objects that all stay: to look for garbage among them again and
    again would take as long as a third of the reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
