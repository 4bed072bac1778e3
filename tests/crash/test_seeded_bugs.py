"""The checks can fail: each of these bugs, built into one seam, is caught by the very checks that the product passes."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from controller.adapters.configfs import ConfigFs
from controller.adapters.lio import KernelLio
from controller.adapters.simulated.pool import MemoryPool
from controller.core.desired import Desired, Golden, Target
from controller.core.names import Site
from controller.core.observed import BootFileState, DhcpState, Observed, OverlayState, TargetState
from controller.core.plan import plan
from controller.core.steps import (
    DeleteBootFile,
    DeleteOverlay,
    Plan,
    PublishTarget,
    WithdrawTarget,
    WriteBootFile,
)
from controller.core.targets import facts
from controller.ports.host import LioState, PoolView, TftpState
from controller.shell.observe import Host
from controller.shell.reconcile import Reconciler
from manifests.types import Iqn
from tests.crash.explore import PC1, PC10, REBOOT, START, STOP, Story, explore, tell
from tests.crash.faults import Meter
from tests.crash.sites import site
from tests.crash.usurper import taken_over
from tests.crash.world import Decide, Passed, World, nothing, settle

Check = Callable[[Callable[[], World]], Awaitable[list[str]]]


@dataclass
class ExistsMeansDone(World):
    """A target that is there is taken for whole."""

    published: dict[str, Target] = field(default_factory=dict)

    def host(self) -> Host:
        lio: Any = _Exists(super().host().lio, self)
        return replace(super().host(), lio=lio)


class _Exists(Passed[ExistsMeansDone]):
    async def publish(self, action: PublishTarget) -> None:
        self.world.published[action.target.iqn] = action.target
        await self.real.publish(action)

    async def observe(self, iqns: Collection[Iqn] | None) -> LioState:
        seen: LioState = await self.real.observe(iqns)
        whole = {
            iqn: replace(state, facts=facts(self.world.published[iqn])) if iqn in self.world.published else state
            for iqn, state in seen.targets.items()
        }
        return replace(seen, targets=whole)


class FileMeansLoaded(World):
    """What lies in the file is taken for what the running dhcpd answers from."""

    def host(self) -> Host:
        dhcp: Any = _File(self.dhcp, self)
        return replace(super().host(), dhcp=dhcp)


class _File(Passed[FileMeansLoaded]):
    async def observe(self) -> DhcpState:
        seen: DhcpState = await self.real.observe()
        return replace(seen, loaded=seen.file, running=True)


@dataclass
class OwnRecord(World):
    """The kernel is never asked: what was put into it is taken to be there."""

    record: dict[Iqn, TargetState] = field(default_factory=dict)

    def host(self) -> Host:
        lio: Any = _Recorded(super().host().lio, self)
        return replace(super().host(), lio=lio)


class _Recorded(Passed[OwnRecord]):
    async def publish(self, action: PublishTarget) -> None:
        await self.real.publish(action)
        self.world.record[action.target.iqn] = TargetState(facts(action.target))

    async def withdraw(self, action: WithdrawTarget) -> None:
        await self.real.withdraw(action)
        self.world.record.pop(action.iqn, None)

    async def observe(self, iqns: Collection[Iqn] | None) -> LioState:
        known = self.world.record
        return LioState({iqn: state for iqn, state in known.items() if iqns is None or iqn in iqns})


class DeleteBeforeWithdraw(World):
    """The disk goes first, then the target, then the script that leads to it."""

    def decide(self) -> Decide:
        return _backwards


def _backwards(desired: Desired, observed: Observed, site: Site) -> Plan:
    steps = plan(desired, observed, site).steps
    going = [step for step in steps if isinstance(step.action, DeleteOverlay | WithdrawTarget | DeleteBootFile)]
    return Plan((*(step for step in steps if step not in going), *reversed(going)))


class DhcpOfTheDead(World):
    """The script is written before its target is there."""

    def decide(self) -> Decide:
        return _hasty


def _hasty(desired: Desired, observed: Observed, site: Site) -> Plan:
    steps = plan(desired, observed, site).steps
    hasty = [step for step in steps if isinstance(step.action, WriteBootFile)]
    return Plan((*hasty, *(step for step in steps if step not in hasty)))


class AllIsOurs(World):
    """Whatever lies in a folder of ours is taken for ours, by the port too, which would refuse it."""

    def host(self) -> Host:
        tftp: Any = _Greedy(self.tftp, self)
        return replace(super().host(), tftp=tftp)


class _Greedy(Passed[AllIsOurs]):
    async def observe(self, paths: Collection[str] | None) -> TftpState:
        seen: TftpState = await self.real.observe(paths)
        ours = {
            path: state if state.ours else BootFileState(state.sha256, ours=True, machine="nobody")
            for path, state in seen.files.items()
        }
        return replace(seen, files=ours)

    async def delete(self, action: DeleteBootFile) -> None:
        self.world.tftp.files.pop(action.path, None)
        self.world.hook("after", "tftp.delete", action)


class UnknownIsOff(World):
    """A session that cannot be read is none: as rtslib has it."""

    def lio(self, fs: ConfigFs) -> KernelLio:
        blind: Any = _Off(fs, self)
        return super().lio(blind)


class _Off(Passed[UnknownIsOff]):
    def read(self, path: str) -> str:
        try:
            return str(self.real.read(path))
        except OSError:
            if path.endswith("/info") and "/acls/" in path:
                return "No active iSCSI Session for Initiator Endpoint"
            raise


class FailedMeansEmpty(World):
    """A listing that failed is taken for one that found nothing."""

    def host(self) -> Host:
        lio: Any = _Empty(super().host().lio, self)
        return replace(super().host(), lio=lio)


class _Empty(Passed[FailedMeansEmpty]):
    async def observe(self, iqns: Collection[Iqn] | None) -> LioState:
        seen: LioState = await self.real.observe(iqns)
        return replace(seen, unreadable={})


class _Careless(Reconciler):
    __slots__ = ()

    def _permit(self) -> None:
        return None


@dataclass
class NoLease(World):
    """Whether the lease still stands is never asked before an act."""

    process: type[Reconciler] = _Careless


@dataclass
class StoreMeansDisk(World):
    """A snapshot whose file is there is taken for one that can be served."""

    pool: MemoryPool = field(default_factory=lambda: MemoryPool(driver="snapshot"))

    def host(self) -> Host:
        pool: Any = _Stored(self.pool, self)
        return replace(super().host(), pool=pool)


class _Stored(Passed[StoreMeansDisk]):
    async def observe(self, images: Collection[Golden], machines: Collection[str] | None = None) -> PoolView:
        seen: PoolView = await self.real.observe(images, machines)
        ready = {name: replace(file, state=OverlayState.READY) for name, file in seen.state.overlays.items()}
        return replace(seen, state=replace(seen.state, overlays=ready))


# --- the checks ---------------------------------------------------------------------------------------------------


def crashes_in(story: Story, calls: str) -> Check:
    """At these calls only, to be quick; the product is tried at all of them."""
    return lambda make: explore(story, make=make, calls=calls)


async def once(make: Callable[[], World]) -> list[str]:
    return [*await tell(START, Meter(), make), *await tell(STOP, Meter(), make)]


async def a_live_pc_that_cannot_be_read(make: Callable[[], World]) -> list[str]:
    """It is stopped while it runs, and whether it runs cannot be told."""
    world = make()
    await world.commit(site(PC1, PC10))
    daemon = await world.daemon()
    await settle(daemon)
    assert world.boots(PC1)

    def unreadable(when: str, call: str, subject: object) -> None:
        if when == "before" and call == "read" and subject == f"{PC1.acl}/info":
            raise OSError(5, "Input/output error", subject)

    await world.commit(site(replace(PC1, running=False), PC10))
    world.fault = unreadable
    for _ in range(3):
        await daemon.reconcile(None)
    return world.guard.broken


async def targets_that_cannot_be_listed(make: Callable[[], World]) -> list[str]:
    """A machine is removed while the kernel cannot be listed: its disk must stay until it can."""
    world = make()
    await world.commit(site(PC1, PC10))
    await settle(await world.daemon())
    await world.commit(site(PC10))

    def unreadable(when: str, call: str, subject: object) -> None:
        if when == "before" and call == "list" and subject in ("iscsi", "core"):
            raise OSError(5, "Input/output error", subject)

    daemon = await world.daemon(unreadable)
    await daemon.reconcile(None)
    world.fault = nothing
    kept = any(name.startswith("pc1.") for name in world.pool.overlays)
    return [*world.guard.broken, *([] if kept else ["the disk of a target that could not be seen is gone"])]


SEEDED: dict[str, tuple[type[World], Check]] = {
    "exists means done": (ExistsMeansDone, crashes_in(START, "symlink")),
    "the file is what dhcpd loaded": (FileMeansLoaded, crashes_in(START, "dhcp.load")),
    "trust my own record": (OwnRecord, crashes_in(REBOOT, "symlink")),
    "a store is a disk": (StoreMeansDisk, crashes_in(REBOOT, "symlink")),
    "delete before withdraw": (DeleteBeforeWithdraw, once),
    "lead there before it stands": (DhcpOfTheDead, once),
    "prunes what is not ours": (AllIsOurs, once),
    "unknown is off": (UnknownIsOff, a_live_pc_that_cannot_be_read),
    "acts on a lease that has run out": (NoLease, lambda make: taken_over(START, make, every=4)),
    "a failed listing is an empty one": (FailedMeansEmpty, targets_that_cannot_be_listed),
}


@pytest.mark.parametrize("bug", SEEDED)
def test_a_seeded_bug_is_caught(bug: str) -> None:
    make, check = SEEDED[bug]
    assert anyio.run(check, make) != []


@pytest.mark.parametrize("bug", ["unknown is off", "a failed listing is an empty one", "delete before withdraw"])
def test_the_same_check_finds_nothing_in_the_product(bug: str) -> None:
    """Those of the checks that only this file makes; the others are made all through this room."""
    assert anyio.run(SEEDED[bug][1], World) == []


MOVED = {"type": "Ready", "status": "True", "reason": "Published", "lastTransitionTime": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    "after",
    [
        {"observedGeneration": 1, "conditions": [MOVED]},
        {"observedGeneration": 2, "conditions": [{**MOVED, "lastTransitionTime": "2026-01-02T00:00:03Z"}]},
        {"observedGeneration": 2, "conditions": [{**MOVED, "status": "False"}]},
    ],
    ids=["generation goes back", "time moves alone", "status flips alone"],
)
def test_a_status_that_tells_its_history_wrong_is_caught(after: dict[str, Any]) -> None:
    guard = World().guard
    guard.status(
        "Session/pc1", {"observedGeneration": 2, "conditions": [MOVED]}, {"observedGeneration": 2, "conditions": [MOVED]}
    )
    assert guard.broken == []
    guard.status("Session/pc1", {"observedGeneration": 2, "conditions": [MOVED]}, after)
    assert guard.broken != []
