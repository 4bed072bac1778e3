"""The daemon: who wakes whom, and nothing else.

One task does all passes, one after the other; the others only wake it. Two feeds always: events, which are fast and may
be lost, and a jittered sweep, which is the truth. A sweep that finds drift is counted, because an event was lost.
"""

import gc
import json
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import anyio
import structlog
from anyio.abc import TaskGroup

from controller.core.backoff import delay
from controller.core.snapshot import METRICS, SWEEP
from controller.core.steps import Refused
from controller.ports.clock import Clock
from controller.ports.host import Watch
from controller.ports.sources import Source
from controller.ports.store import Claim, Event, Lease, Store, StoreError
from controller.shell.hints import EVERYTHING, Places
from controller.shell.imports import Imports
from controller.shell.reconcile import Reconciler, Report
from controller.shell.sources import Intake, no_collection
from controller.shell.tally import Tally
from controller.shell.tell import events

log = structlog.get_logger()

_LEASE_SECONDS = 30.0
_LOGIN_SECONDS = 1.0
_LOGIN_SHARE = 20  # with thousands of targets one round takes a while: at most a twentieth of a core is spent on it
_BATCH = 500
_RETRY_SECONDS = 1.0
_UNTOLD = 1000


@dataclass(slots=True)
class Daemon:
    """Everything that runs for one boot server until it is told to stop.

    ``alive`` is called by the loop that does the work, each time round; ``ready`` once, after the first sweep. Who
    marked a key without waking us is noticed within ``poll_seconds``.
    """

    reconciler: Reconciler
    sources: Sequence[Source]
    watch: Watch
    places: Places
    sweep_seconds: float
    ready: Callable[[], None]
    alive: Callable[[], None]
    poll_seconds: float = 0.25
    _wake: anyio.Event = field(default_factory=anyio.Event)
    _hinted: set[str] = field(default_factory=set)
    _intakes: list[Intake] = field(default_factory=list)
    _swept: datetime | None = None
    _tally: Tally = field(default_factory=Tally)
    _next_sweep: float = 0.0
    _lost: bool = False
    _untold: list[Event] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return self.reconciler.store

    @property
    def clock(self) -> Clock:
        return self.reconciler.clock

    async def run(self) -> None:
        """Until cancelled, or Fenced. A pass that has begun is finished; then nothing outside is touched any more."""
        await self.store.reopen()
        self._intakes = [Intake(source, self.store, self.clock, self.wake) for source in self.sources]
        async with anyio.create_task_group() as tasks:
            imports = Imports(self.reconciler.host.pool, tasks, self._news_of)
            self.reconciler.host = replace(self.reconciler.host, imports=imports)
            tasks.start_soon(self._renew)
            for intake in self._intakes:
                tasks.start_soon(self._follow, intake)
            await self._work(tasks)

    def wake(self) -> None:
        self._wake.set()

    def _news_of(self, key: str) -> None:
        self._hinted.add(key)
        self.wake()

    async def _work(self, tasks: TaskGroup) -> None:
        self._next_sweep = self.clock.monotonic()
        while True:
            self.alive()
            self._wake = anyio.Event()
            try:
                if self._lost:
                    await self._recover()
                await self._round(tasks)
            except StoreError as error:
                if self.reconciler.view.last is None:
                    raise  # it has never begun: what is wrong is said at once, and by the exit code
                await self._without(error)

    async def _round(self, tasks: TaskGroup) -> None:
        if self.clock.monotonic() >= self._next_sweep:
            first = self.reconciler.view.last is None
            began = self.clock.now()
            with no_collection() if first else nullcontext():
                await self._pass(None, await self.store.claim(began, _BATCH))
            self._swept = self.clock.now()
            self._tally.looked(began, self.reconciler.view.last)
            self._next_sweep = self.clock.monotonic() + self.sweep_seconds * random.uniform(0.9, 1.1)  # noqa: S311
            if first:
                gc.collect()
                gc.freeze()  # what was read stays: to search it for garbage again and again would stall the loop
                await self._beat()
                self.ready()
                tasks.start_soon(self.watch.run, self._touched)
                tasks.start_soon(self._logins)
                if self.reconciler.host.chap is not None:
                    tasks.start_soon(self.reconciler.host.chap.run, lambda: self._news_of(EVERYTHING))
            return
        due = await self.store.next_due()
        now = self.clock.now()
        claims = await self.store.claim(now, _BATCH) if due is not None and due <= now else ()
        if claims or self._hinted:
            keys = frozenset(self._hinted) | {claim.key for claim in claims}
            self._hinted.clear()
            await self._pass(keys, claims)
        else:
            later = [] if due is None else [(due - now).total_seconds()]
            await self._wait(max(0.0, min(self.poll_seconds, self._next_sweep - self.clock.monotonic(), *later)))

    async def _wait(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._wake.wait()

    async def _without(self, error: StoreError) -> None:
        """The store does not answer: PCs go on, and what they boot from is put right when somebody touches it."""
        if not self._lost:
            log.warning("store lost, keeping what was wanted last", error=str(error))
            self._lost, self._next_sweep = True, self.clock.monotonic()
        if self._hinted or self.clock.monotonic() >= self._next_sweep:
            self._hinted.clear()
            self._next_sweep = self.clock.monotonic() + self.sweep_seconds
            with anyio.CancelScope(shield=True):
                results = await self.reconciler.keep()
            self._untold = [*self._untold, *events(results, {}, {}, self.clock.now())][:_UNTOLD]
            if results:
                log.info("kept", steps=len(results))
        await self._wait(_RETRY_SECONDS)

    async def _recover(self) -> None:
        await self.reconciler.recover(_LEASE_SECONDS)
        await self.store.tell(self._untold)
        log.warning("store is back", untold=len(self._untold))
        self._lost, self._untold, self._next_sweep = False, [], self.clock.monotonic()

    async def _pass(self, keys: frozenset[str] | None, claims: Sequence[Claim]) -> None:
        began = self.clock.monotonic()
        with anyio.CancelScope(shield=True):
            report = await self.reconciler.reconcile(keys)
            self._hinted |= report.again
            await self._answer(claims, report)
            for intake in self._intakes:
                await intake.arrived(report.settled)
        self._tally.passed(report, sweep=keys is None, seconds=self.clock.monotonic() - began)
        if report.results or keys is not None:
            log.info(
                "pass",
                keys=len(keys) if keys is not None else "all",
                steps=len(report.results),
                troubled=len(report.troubled),
                seconds=round(self.clock.monotonic() - began, 3),
            )
        for owner, outcome in report.troubled.items():
            log.warning("step failed", owner=owner, outcome=str(outcome))

    async def _answer(self, claims: Sequence[Claim], report: Report) -> None:
        """Keys that nothing stands in the way of are done; the others come back, later each time."""
        index = self.reconciler.index
        now = self.clock.now()
        done, mine = [], set()
        for claim in claims:
            owners = {claim.key, *(f"Machine/{name}" for name in index.machines([claim.key]))}
            if owners & report.troubled.keys():
                mine |= owners
                await self.store.retry(claim, now + timedelta(seconds=delay(claim.attempts, claim.key)))
            else:
                done.append(claim)
        await self.store.done(done)
        others = {key for key, outcome in report.troubled.items() if key not in mine and not isinstance(outcome, Refused)}
        if others:
            await self.store.mark(others, not_before=now + timedelta(seconds=delay(0, min(others))))

    def _touched(self, paths: frozenset[str]) -> None:
        keys = self.places.keys(paths, self.reconciler.site, self.reconciler.index.clients.values())
        if keys:
            self._hinted |= keys
            self.wake()

    async def _logins(self) -> None:
        """PCs come and go without the file system telling: their sessions are asked for, in a small part of the time."""
        pause = _LOGIN_SECONDS
        while True:
            await self.clock.sleep(pause)
            began = self.clock.monotonic()
            last = self.reconciler.view.last
            if last is None:
                continue
            site, clients = self.reconciler.site, self.reconciler.index.clients
            asked = {
                iqn: clients[found[0]].initiator
                for iqn in last.targets
                if (found := site.parse_target(iqn)) and found[0] in clients
            }
            answers = await self.reconciler.host.lio.logins(asked)
            pause = max(_LOGIN_SECONDS, _LOGIN_SHARE * (self.clock.monotonic() - began))
            moved = {
                f"Machine/{site.parse_target(iqn)[0]}"  # type: ignore[index]
                for iqn, (login, peer) in answers.items()
                if iqn in last.targets and (last.targets[iqn].login, last.targets[iqn].peer) != (login, peer)
            }
            if moved:
                self._hinted |= moved
                self.wake()

    async def _follow(self, intake: Intake) -> None:
        woken = anyio.Event()

        def wake() -> None:
            woken.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(intake.source.watch, wake)
            while True:
                await woken.wait()
                woken = anyio.Event()
                try:
                    await intake.take()
                except StoreError:  # the loop that does the work says so
                    await self.clock.sleep(_RETRY_SECONDS)
                    woken.set()

    async def _renew(self) -> None:
        while True:
            await self.clock.sleep(_LEASE_SECONDS / 3)
            with suppress(StoreError):  # the loop that does the work says so, and renews when it is back
                self.reconciler.lease = await self.store.renew(self.reconciler.lease, self.clock.now(), _LEASE_SECONDS)
                await self._beat()

    async def _beat(self) -> None:
        """The time of the last sweep and what was counted: with the lease, because a quiet sweep itself writes nothing."""
        if self._swept is not None:
            beat = {"at": self._swept.isoformat(), "epoch": self.reconciler.lease.epoch}
            counts = self._tally.wire(self.reconciler.view.last, await self.store.waiting(), self.clock.now())
            told = {SWEEP: json.dumps(beat), METRICS + self.reconciler.site.server: counts}
            await self.store.report(self.reconciler.lease, observations=told)


async def lead(store: Store, clock: Clock, name: str, holder: str, asked: Callable[[], object]) -> Lease:
    """Waits until this controller is the one for its boot server; ``asked`` is called once it is known who is for now."""
    lease = await store.acquire(name, holder, clock.now(), _LEASE_SECONDS)
    asked()
    while lease is None:
        log.info("another controller leads", server=name)
        await clock.sleep(_LEASE_SECONDS / 3)
        lease = await store.acquire(name, holder, clock.now(), _LEASE_SECONDS)
    return lease
