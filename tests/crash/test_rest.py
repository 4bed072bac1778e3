"""P2, P3: where everything is as it is asked for, nothing is written, however often and however late it is looked."""

import copy

import anyio

from tests.crash.faults import LOOKS
from tests.crash.oracle import wrong
from tests.crash.sites import Pc, site
from tests.crash.world import World, settle

PCS = tuple(Pc(number, running=number % 5 > 0) for number in range(1, 251))
# The daemon asks the store for these even when there is nothing to write; they must then change no row.
_ASKED = frozenset({"write_observations"})


async def _at_the_goal() -> World:
    world = World()
    await world.commit(site(*PCS))
    world.guard.awake = False
    await settle(await world.daemon())
    world.guard.awake = True
    return world


def test_at_the_goal_a_sweep_over_five_hundred_objects_writes_nothing_anywhere() -> None:
    async def sweep() -> list[str]:
        world = await _at_the_goal()
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


def test_a_process_that_has_just_started_at_the_goal_writes_nothing_but_its_lease() -> None:
    async def sweep() -> list[str]:
        world = await _at_the_goal()
        writes = (world.kernel.writes, world.tftp.writes, world.dhcp.restarts)
        rows = copy.deepcopy(vars(world.store))
        report = await (await world.daemon()).reconcile(None)
        assert (world.kernel.writes, world.tftp.writes, world.dhcp.restarts) == writes
        changed = {name for name, held in vars(world.store).items() if held != rows[name]}
        return [*map(str, report.results), *(changed - {"_leases"})]

    assert anyio.run(sweep) == []
