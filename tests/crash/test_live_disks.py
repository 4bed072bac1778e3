"""P9: a PC that is running keeps its disk, whatever is asked, damaged or dies; once it is off, what was asked is done."""

from dataclasses import replace

import anyio
import pytest

from tests.crash.explore import PC1, PC10, TWO, Dying, writes_at_rest
from tests.crash.faults import Fault, Meter, die, error_at
from tests.crash.hands import damage
from tests.crash.oracle import wrong
from tests.crash.sites import Pc, site
from tests.crash.world import World, nothing, settle

ASKED: dict[str, tuple[Pc, ...]] = {
    "another image": (replace(PC1, image="other"), PC10),
    "stop": (replace(PC1, running=False), PC10),
    "remove": (PC10,),
    "read-only": (replace(PC1, persistence="readonly"), PC10),
    "another card": (replace(PC1, card=99), PC10),
    "each other's card": (replace(PC1, card=10), replace(PC10, card=1)),
    "its card for another machine": (replace(PC10, card=1),),
    "nothing": (PC1, PC10),
    "a second disk": TWO,
    "without its second disk": (PC1, PC10),
    "another image beside its second disk": (replace(TWO[0], image="other"), PC10),
}
BEFORE = {"without its second disk": TWO, "another image beside its second disk": TWO}
# What a hand can do that a running PC does not feel, or that can be mended under it.
FELT_BY_NOBODY = ("let_another_in", "take_the_portal", "loosen", "remove_script", "empty_script", "kill_dhcpd")


async def _asked(name: str, meter: Meter, kind: str | None) -> list[str]:
    world = World()
    await world.commit(site(*BEFORE.get(name, (PC1, PC10))))
    await settle(await world.daemon())
    assert world.boots(PC1)
    disks = world.kernel.disks(PC1.acl)
    if kind:
        damage(world, PC1, kind)
    await world.commit(site(*ASKED[name]))
    daemon = await world.daemon(meter)
    with Dying() as first:
        await settle(daemon)
    world.fault = nothing
    daemon = await world.daemon() if first.died else daemon
    await settle(daemon)
    kept = world.kernel.disks(PC1.acl).items() >= disks.items() and world.guard.live
    found = [] if kept else ["its disks are not what they were"]
    world.shuts_down(PC1.acl)
    await settle(daemon)
    return [*found, *await wrong(world, ASKED[name]), *await writes_at_rest(world)]


@pytest.mark.parametrize("name", ASKED)
def test_a_running_pc_keeps_its_disk_whatever_is_asked_and_whenever_the_controller_dies(name: str) -> None:
    async def all_of_them() -> list[str]:
        whole = Meter()
        found = await _asked(name, whole, None)
        for at in range(1, whole.count + 1, 2):
            fault: Fault = die if at % 4 == 1 else error_at(at)
            found += [f"at {at}: {what}" for what in await _asked(name, Meter(at, fault), None)]
        return found

    assert anyio.run(all_of_them) == []


@pytest.mark.parametrize("kind", FELT_BY_NOBODY)
@pytest.mark.parametrize("name", ["another image", "stop", "nothing"])
def test_damage_is_mended_under_a_running_pc_without_its_feeling_it(name: str, kind: str) -> None:
    assert anyio.run(_asked, name, Meter(), kind) == []


def test_a_disruption_that_is_asked_for_by_name_cuts_and_is_told_apart() -> None:
    """The guard sees a cut: without the annotation the same would be found broken."""
    allowed = (("disruption", "allowed"),)

    async def tell() -> tuple[bool, list[str]]:
        world = World()
        await world.commit(site(PC1, PC10))
        daemon = await world.daemon()
        await settle(daemon)
        assert world.boots(PC1)
        last = (replace(PC1, image="other", machine=allowed), PC10)
        await world.commit(site(*last))
        await settle(daemon)
        return bool(world.guard.live), await wrong(world, last)

    assert anyio.run(tell) == (False, [])
