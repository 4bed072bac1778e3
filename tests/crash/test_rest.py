"""P2, P3: where everything is as it is asked for, nothing is written, however often and however late it is looked."""

import copy
import re

import anyio
import pytest

from tests.crash.faults import LOOKS
from tests.crash.oracle import wrong
from tests.crash.sites import Pc, site
from tests.crash.world import World, nothing, settle

PCS = tuple(Pc(number, running=number % 5 > 0) for number in range(1, 251))
# The daemon asks the store for these even when there is nothing to write; they must then change no row.
_ASKED = frozenset({"report"})


QUIET = LOOKS | {"dhcp.load"}  # one file for all, loaded once


async def _at_the_goal(*pcs: Pc) -> World:
    world = World()
    await world.commit(site(*pcs))
    world.guard.awake = False
    await settle(await world.daemon())
    world.guard.awake = True
    return world


@pytest.fixture(scope="module")
def at_the_goal() -> World:
    """It is looked at, and nothing else."""
    return anyio.run(_at_the_goal, *PCS)


def test_at_the_goal_a_sweep_over_five_hundred_objects_writes_nothing_anywhere(at_the_goal: World) -> None:
    async def sweep() -> list[str]:
        world = at_the_goal
        daemon = await world.daemon()
        await daemon.reconcile(None)
        found = await wrong(world, PCS)
        called: list[str] = []
        world.fault = lambda when, call, subject: called.append(call) if when == "before" and call not in LOOKS else None
        rows, writes = copy.deepcopy(vars(world.store)), (world.kernel.writes, world.tftp.writes, world.dhcp.restarts)
        for _ in range(3):
            world.clock.time = world.clock.time.replace(year=world.clock.time.year + 1)
            report = await daemon.reconcile(None)
            found += [str(result) for result in report.results]
        assert len(rows["_rows"]) > 500
        found += [call for call in called if call not in _ASKED]
        if (world.kernel.writes, world.tftp.writes, world.dhcp.restarts) != writes:
            found.append("something was written outside")
        return found + [name for name, held in vars(world.store).items() if held != rows[name]]

    assert anyio.run(sweep) == []


def test_a_process_that_has_just_started_at_the_goal_writes_nothing_but_its_lease(at_the_goal: World) -> None:
    async def sweep() -> list[str]:
        world = at_the_goal
        writes = (world.kernel.writes, world.tftp.writes, world.dhcp.restarts)
        rows = copy.deepcopy(vars(world.store))
        report = await (await world.daemon()).reconcile(None)
        assert (world.kernel.writes, world.tftp.writes, world.dhcp.restarts) == writes
        changed = {name for name, held in vars(world.store).items() if held != rows[name]}
        return [*map(str, report.results), *(changed - {"_leases"})]

    assert anyio.run(sweep) == []


def test_three_changes_among_many_cost_the_effects_of_three_and_one_load_of_dhcpd() -> None:
    """P16, outside: what is done for the others is nothing."""
    changed = (Pc(1, image="other"), Pc(2, running=False), Pc(251))

    async def change() -> list[str]:
        world = await _at_the_goal(*PCS[:40])
        daemon = await world.daemon()
        await daemon.reconcile(None)
        restarts = world.dhcp.restarts
        touched: list[str] = []
        world.fault = lambda when, call, subject: touched.append(f"{call} {subject}") if call not in QUIET else None
        last = (*changed[:2], *PCS[2:40], changed[2])
        await world.commit(site(*last))
        for _ in range(4):
            claims = await world.store.claim(world.clock.now(), 100)
            if claims:
                await daemon.reconcile(frozenset(claim.key for claim in claims))
                await world.store.done(claims)
        world.fault = nothing
        machines = {name for text in touched for name in re.findall(r"[:+/'](pc[0-9]+)[.+/']", text)}
        found = await wrong(world, last)
        if machines - {pc.name for pc in changed}:
            found.append(f"touched too: {machines}")
        return found + ([] if world.dhcp.restarts == restarts + 1 else [f"{world.dhcp.restarts - restarts} restarts"])

    assert anyio.run(change) == []
