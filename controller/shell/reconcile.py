"""One pass: look, decide, act, look again, tell.

A pass is given keys and nothing else. What changed, and how, it finds out by looking; so a pass that was begun by a
lost, repeated or wrong hint ends where it would have ended anyway. A pass over no keys in particular is a sweep.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from controller.core.commits import verdict
from controller.core.desired import Desired
from controller.core.names import OverlayName, Site, parse_script, script
from controller.core.observed import Observed
from controller.core.plan import plan, same
from controller.core.snapshot import dumps
from controller.core.status import forgettable, statuses
from controller.core.steps import (
    ActivateOverlay,
    CreateOverlay,
    DeleteVersion,
    Done,
    Effect,
    ImportImage,
    LoadDhcp,
    Outcome,
    Plan,
    PublishTarget,
    Underway,
    WriteBootFile,
)
from controller.ports.clock import Clock
from controller.ports.store import Conflict, Event, Fenced, Lease, NotFound, StatusWrite, Store
from controller.shell.execute import Result, execute, worst
from controller.shell.hints import EVERYTHING
from controller.shell.index import Index
from controller.shell.observe import Host, View
from controller.shell.tell import DRIFT, events, pool_events
from manifests.commits import COMMIT
from manifests.image import Image
from manifests.kinds import Object
from manifests.meta import Status
from manifests.session import Session

_KEPT = (CreateOverlay, ActivateOverlay, PublishTarget, WriteBootFile, LoadDhcp)
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Report:
    """What a pass did: its steps, the owners that something stands in the way of, and the keys that have arrived, each
    with the resourceVersion at which it was read.

    ``again`` are keys that can go on at once: what they waited for was done in this very pass.
    """

    results: tuple[Result, ...] = ()
    troubled: Mapping[str, Outcome] = field(default_factory=dict)
    settled: Mapping[str, int] = field(default_factory=dict)
    machines: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()


@dataclass(slots=True)
class Reconciler:
    """The pass, with the little that it remembers: an index of wishes, the last look. Both may be lost at any moment."""

    store: Store
    host: Host
    site: Site
    clock: Clock
    lease: Lease
    decide: Callable[[Desired, Observed, Site], Plan] = plan
    index: Index = field(init=False)
    view: View = field(init=False)
    _idle: tuple[int, Observed] | None = None
    _told: Observed | None = None

    def __post_init__(self) -> None:
        self.index, self.view = Index(self.site), View(self.site)

    async def reconcile(self, keys: frozenset[str] | None) -> Report:
        """A pass over these keys; None, or the first one: a sweep over everything."""
        if keys is None or self.view.last is None:
            return await self._sweep()
        touched = await self._refresh(keys)
        machines = touched | self.index.machines(keys)
        if EVERYTHING in keys or (not machines and any(key.startswith("Network/") for key in keys)):
            return await self._sweep()
        return await self._pass(keys, machines, await self._glance(machines))

    async def keep(self) -> tuple[Result, ...]:
        """While the store does not answer: what PCs boot from is put right where somebody touched it.

        Nothing is begun, withdrawn, deleted or cut: who knows what has been decided meanwhile. The lease is not asked for,
        because nobody else can get it where nobody can reach the store, and this host is ours by its lock file.
        """
        desired = self.index.desired(None)
        observed = await self.view.sweep(self.host, desired)
        decided = self.decide(desired, observed, self.site)
        safe = [step for step in decided.steps if isinstance(step.action, _KEPT) and step.effect is Effect.NONE]
        drifted = tuple(step for step in safe if step.cause == DRIFT)
        return await execute(Plan(drifted, decided.waits), self.host, lambda: None)

    async def recover(self, seconds: float) -> None:
        """The store answers again: what was read of it half may be wrong, what was claimed is due again. Fenced."""
        self.lease = await self.store.renew(self.lease, self.clock.now(), seconds)
        await self.store.reopen()
        self.index.doubt()
        self._idle = None

    async def _refresh(self, keys: frozenset[str] | None) -> frozenset[str]:
        touched = await self.index.refresh(self.store, keys, self.clock.now())
        if self.host.chap is not None:
            self.host.chap.admit(self.index.guarded)
        return touched

    async def _sweep(self) -> Report:
        known = self.view.last
        touched = await self._refresh(None)
        observed = await self.view.sweep(self.host, self.index.desired(None))
        # A plan is a function of the wishes and of what is seen: where it was empty for the very same, it is empty.
        if self._idle is not None and self._idle[0] == self.index.turns and same(self._idle[1], observed):
            return Report()
        if known is None:
            touched = frozenset(self.index.clients)
        return await self._pass(None, touched | self._moved(known, observed), observed)

    async def _glance(self, machines: Collection[str]) -> Observed:
        macs = [mac for name in machines if name in self.index.clients for mac in self.index.clients[name].macs]
        return await self.view.glance(self.host, self.index.desired(machines), machines, macs)

    async def _pass(self, keys: frozenset[str] | None, machines: frozenset[str], observed: Observed) -> Report:
        decided = self.decide(self.index.desired(None if keys is None else machines), observed, self.site)
        if any(isinstance(step.action, DeleteVersion) for step in decided.due) and not await self.index.current(self.store):
            # To look at a host takes its time, and what goes does not come back: the next sweep decides anew.
            decided = replace(decided, steps=tuple(s for s in decided.steps if not isinstance(s.action, DeleteVersion)))
        if self.host.imports is not None:
            commits = [one for client in self.index.clients.values() for one in client.commits]
            self.host.imports.keep(self.index.images, commits)
        results = await execute(decided, self.host, self._permit)
        machines |= {
            owner.removeprefix("Machine/") for step in decided.steps for owner in step.owners if owner.startswith("Machine/")
        }
        if keys is None and not machines and not results:
            await self._tell_shared(observed, decided, results)
            self._idle = None if decided.steps else (self.index.turns, observed)
            return Report(results, machines=machines)
        left = decided  # where nothing was done, nothing has changed: a sweep needs no second look at everything
        if results or keys is not None:
            observed = await self._glance(machines) if results else observed
            left = self.decide(self.index.desired(machines), observed, self.site)
        settled = await self._tell(keys or frozenset(), machines, observed, left, results)
        troubled = {key: outcome for key, outcome in worst(results).items() if not isinstance(outcome, Done | Underway)}
        return Report(results, troubled, settled, machines, again=_imported(results))

    async def _tell_shared(self, observed: Observed, left: Plan, results: tuple[Result, ...]) -> None:
        await self._tell(frozenset(), frozenset(), observed, left, results)

    async def _tell(
        self, keys: frozenset[str], machines: frozenset[str], observed: Observed, left: Plan, results: tuple[Result, ...]
    ) -> Mapping[str, int]:
        objects = await self._subjects(keys, machines)
        now = self.clock.now()
        found = statuses(objects.values(), self.index.desired(machines), observed, left, worst(results), now, self.site)
        if self.host.simulated:
            found = {key: _simulated(status) for key, status in found.items()}
        fresh = {key: status for key, status in found.items() if objects[key].status != status}
        writes = [StatusWrite(key, objects[key].metadata.uid or "", status.wire()) for key, status in fresh.items()]
        whole = self.view.whole(observed)
        seen = {key: text or None for key, text in dumps(whole, machines, self._told).items()}
        told = [*events(results, objects, fresh, now), *pool_events(self._told, whole, now)]
        await self.store.report(self.lease, statuses=writes, observations=seen, events=told)
        self.index.forget(fresh)
        self.index.read, self._told = {}, whole
        ours = [objects[key] for key in found]  # what is another server's has its disks there, where we see nothing
        await self._settle(ours, whole)
        gone = await self._finalise(ours, left, observed)
        await self._expire(ours, found)
        waiting = {owner for step in left.steps for owner in step.owners}
        waiting |= {key for key, one in objects.items() if one.metadata.deleted_at is not None}
        return {key: one.metadata.resource_version or 0 for key, one in objects.items() if key not in waiting - gone}

    async def _subjects(self, keys: frozenset[str], machines: Collection[str]) -> dict[str, Object]:
        """What is to be told of, as its wishes were read. What has changed since is dirty again, and the next pass's.

        What others write too is read anew: what all share, and what asks for a commit, which may be another by now.
        """
        wanted = self.index.parts(machines) | keys | self.index.shared
        read, shared = self.index.read, self.index.shared
        known = {key: read[key] for key in wanted & read.keys() - shared if COMMIT not in read[key].metadata.annotations}
        found = await self.store.fetch(wanted - known.keys()) if wanted - known.keys() else {}
        return dict(sorted((known | {key: one for key, one in found.items() if self.index.digested(one)}).items()))

    async def _finalise(self, objects: Collection[Object], left: Plan, observed: Observed) -> frozenset[str]:
        """Removes the rows of deleted objects of which nothing is left outside."""
        gone, now = set(), self.clock.now()
        for one in objects:
            if one.metadata.deleted_at is not None and forgettable(one, left, observed, self.site):
                machine = str(one.spec.machine if isinstance(one, Session) else one.name)
                with suppress(Conflict):  # wanted again since it was read, and dirty with that
                    await self.store.remove(
                        one.key,
                        one.metadata.uid or "",
                        now,
                        orphan=machine if one.metadata.orphan and not isinstance(one, Image) else None,
                    )
                    gone.add(one.key)
        if gone:
            await self.index.refresh(self.store, gone, now)
        return frozenset(gone)

    async def _settle(self, objects: Collection[Object], observed: Observed) -> None:
        """Commits that are done, or never will be, are asked for no more: told first, for nobody would know of them then."""
        for one in objects:
            found = verdict(one, observed) if isinstance(one, Session) else None
            if found is not None:
                now = self.clock.now()
                await self.store.tell([Event(one.key, *found, now, now)])
                with suppress(NotFound):
                    await self.store.annotate(one.key, {COMMIT: None})

    async def _expire(self, objects: Collection[Object], found: Mapping[str, Status]) -> None:
        """A session with a time to live is looked at again when that is over."""
        for one in objects:
            started = getattr(found.get(one.key), "started_at", None)
            if isinstance(one, Session) and one.spec.ttl is not None and started is not None and one.spec.state == "running":
                remaining = int(one.spec.ttl) - (self.clock.now() - started).total_seconds()
                if remaining > 0:
                    await self.store.mark(
                        [one.key], not_before=started.fromtimestamp(started.timestamp() + int(one.spec.ttl), started.tzinfo)
                    )

    def _permit(self) -> None:
        if self.lease.expires <= self.clock.now():
            raise Fenced(f"the lease on {self.site.server} has run out")

    def _moved(self, known: Observed | None, fresh: Observed) -> frozenset[str]:
        """Machines of which something outside looks different from the last look."""
        if known is None:
            return frozenset()
        if (known.complete, known.dhcp.problem) != (fresh.complete, fresh.dhcp.problem):
            return frozenset(self.index.clients)
        moved = self._sighted(_differing(known.unreadable, fresh.unreadable)) | self._retold(known, fresh)
        moved |= {parts[0] for iqn in _differing(known.targets, fresh.targets) if (parts := self.site.parse_target(iqn))}
        moved |= {
            name.machine
            for text in _differing(known.pool.overlays, fresh.pool.overlays)
            if (name := OverlayName.parse(text))
        }
        for path in _differing(known.boot, fresh.boot):
            if parse_script(path) is not None:
                moved |= {state.machine for look in (known, fresh) if (state := look.boot.get(path)) and state.machine}
        return frozenset(moved)

    def _retold(self, known: Observed, fresh: Observed) -> set[str]:
        """Machines whose secret is another now, or cannot be asked for, or can again."""
        if known.closed != fresh.closed:
            return set(self.index.guarded)
        secrets = _differing(known.credentials, fresh.credentials)
        return {name for name, client in self.index.guarded.items() if client.credential in secrets}

    def _sighted(self, keys: Collection[str]) -> set[str]:
        """Machines of which something could not be read before and can now, or the other way round."""
        paths = (
            {script(mac.hyphens): name for name, client in self.index.clients.items() for mac in client.macs} if keys else {}
        )
        found = {parts[0] for key in keys if (parts := self.site.parse_target(key))}
        found |= {name.machine for key in keys if (name := OverlayName.parse(key))}
        return found | {paths[key] for key in keys if key in paths}


def _differing(one: Mapping[K, V], other: Mapping[K, V]) -> set[K]:
    if one == other:
        return set()
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def _imported(results: Iterable[Result]) -> frozenset[str]:
    """The images that are there now: sessions may have waited for them."""
    return frozenset(
        f"Image/{result.step.action.image}"
        for result in results
        if isinstance(result.step.action, ImportImage) and isinstance(result.outcome, Done)
    )


def _simulated(status: Status) -> Status:
    """Nobody may take a simulated machine for a real one."""
    told = tuple(one.model_copy(update={"message": f"simulated: {one.message}".rstrip(": ")}) for one in status.conditions)
    return status.model_copy(update={"conditions": told})
