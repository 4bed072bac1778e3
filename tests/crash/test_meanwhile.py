"""A commit that comes in while a pass is at work: nothing of it is lost, and nothing is said of it too early."""

from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from controller.shell.reconcile import Reconciler
from controller.shell.sources import Intake
from tests.crash.explore import writes_at_rest
from tests.crash.folder import Folder, written
from tests.crash.oracle import wrong
from tests.crash.sites import Pc
from tests.crash.world import World

PC1, PC10 = Pc(1), Pc(10)
KEPT = replace(PC1, persistence="keep")
SETS: dict[str, tuple[tuple[Pc, ...], ...]] = {
    "started, then removed": ((PC10,), (PC1, PC10), (PC10,)),
    "started, then stopped": ((PC10,), (PC1, PC10), (replace(PC1, running=False), PC10)),
    "kept, then removed": ((PC10,), (KEPT, PC10), (PC10,)),
    "another image, then back": ((PC1, PC10), (replace(PC1, image="other"), PC10), (PC1, PC10)),
    "removed, then wanted again": ((PC1, PC10), (PC10,), (PC1, PC10)),
    "removed, then wanted otherwise": ((PC1, PC10), (PC10,), (replace(PC1, image="other"), PC10)),
    "stopped, then all removed": ((PC1, PC10), (replace(PC1, running=False), PC10), ()),
}


def now(work: Coroutine[Any, Any, None]) -> None:
    """Runs it between two calls of somebody else's: the store in memory never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


@dataclass
class Office:
    """A world, a source of manifests, and a daemon that follows it by the keys that are dirty, as the real one does."""

    world: World
    end: tuple[Pc, ...]
    handed_in: bool = False
    early: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = Folder()
        self.intake = Intake(self.folder, self.world.store, self.world.clock, lambda: None)

    async def hand_in(self, pcs: tuple[Pc, ...]) -> None:
        self.folder.files = written(*pcs)
        await self.intake.take()

    async def work(self, daemon: Reconciler) -> None:
        store, again = self.world.store, frozenset[str]()
        while (claims := await store.claim(self.world.clock.now(), 100)) or again:
            report = await daemon.reconcile(again | {claim.key for claim in claims})
            again = report.again
            await store.done(claims)
            await self.intake.arrived(report.settled)
            if self.handed_in and not self.early and await self.reached():
                self.early = [f"too early: {what}" for what in await wrong(self.world, self.end)]

    async def reached(self) -> bool:
        """What ``ggnet history`` says of the last revision."""
        return (await self.world.store.revisions())[0].converged_at is not None


async def tell(sets: tuple[tuple[Pc, ...], ...], at: int) -> tuple[int, list[str]]:
    """The second commit starts the work, the third comes in at one of its moments; their number, and what is wrong."""
    before, change, end = sets
    world = World()
    office = Office(world, end)
    daemon = await world.daemon()
    await office.hand_in(before)
    await office.work(daemon)
    await office.hand_in(change)
    moments = 0

    def count(when: str, call: str, subject: object) -> None:
        nonlocal moments
        if when == "after" or not isinstance(subject, tuple | list):
            return  # no call of the store's, and so no moment at which a pass could notice
        moments += 1
        if moments == at:
            office.handed_in = True
            now(office.hand_in(end))

    world.fault = count
    await office.work(daemon)
    if not office.handed_in:
        return moments, []
    late = [] if await office.reached() else ["it was reached, and nobody said so"]
    return moments, [*office.early, *late, *await wrong(world, end), *await writes_at_rest(world)]


@pytest.mark.parametrize("name", SETS)
def test_what_comes_in_the_middle_of_a_pass_is_neither_lost_nor_said_to_be_there_too_early(name: str) -> None:
    moments, _ = anyio.run(tell, SETS[name], 0)
    assert moments > 3, "it must be in the way of every call of the store's"
    failures = {at: found for at in range(1, moments + 1) if (found := anyio.run(tell, SETS[name], at)[1])}
    assert failures == {}
