"""Two controllers for one boot server: the first sleeps through its lease, the second does all the work meanwhile."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import anyio.from_thread

from tests.crash.explore import Dying, Story, prepare
from tests.crash.faults import KERNEL, LOOKS, Meter
from tests.crash.oracle import wrong
from tests.crash.sites import Pc, site
from tests.crash.world import World, settle

LAST = (Pc(2), Pc(10))


@dataclass
class Usurper:
    """At one moment of the first controller's pass its host sleeps for an hour, and another one does all the work.

    ``done`` are the effects that the first one still had, once it woke up.
    """

    world: World
    meter: Meter
    last: tuple[Pc, ...]
    woken: bool = False
    done: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, when: str, call: str, subject: object) -> None:
        if not self.woken:
            self.meter(when, call, subject)
        elif call not in LOOKS and when == "after":
            self.done.append((call, str(subject)))

    def take_over(self, when: str, call: str, subject: object) -> None:
        world = self.world
        world.clock.time += timedelta(hours=1)
        with anyio.from_thread.start_blocking_portal() as portal:
            portal.call(self._rule)
        world.fault = self
        self.woken = True

    async def _rule(self) -> None:
        await self.world.commit(site(*self.last))
        await settle(await self.world.daemon(holder="s1@other", seconds=3600))


async def taken_over(story: Story, make: Callable[[], World] = World, every: int = 9) -> list[str]:
    """What the first one still did after the other had taken over, at every so many-th moment of its pass.

    What it was in the middle of is one step on one target, which the host's own lock keeps from happening at all;
    nothing may follow it, outside or in the store.
    """
    whole = Meter()
    await _tell(story, whole, make)
    failures = []
    for at in range(1, whole.count, every):
        failures += [f"at {at}: {what}" for what in await _tell(story, Meter(at), make)]
    return failures


async def _tell(story: Story, meter: Meter, make: Callable[[], World]) -> list[str]:
    world = await prepare(story, make)
    usurper = Usurper(world, meter, LAST)
    meter.fault = usurper.take_over
    daemon = await world.daemon(usurper, seconds=30)
    with Dying() as first:
        await daemon.reconcile(None)
    if meter.at is None:
        return []
    found = [f"{call} {what}" for call, what in usurper.done[1:] if call not in KERNEL]
    loads = usurper.done[:1] if usurper.done and usurper.done[0][0] == "dhcp.load" else []  # one step about all of them
    if len({name for _, what in usurper.done[len(loads) :] for name in re.findall("pc[0-9]+", what)}) > 1:
        found.append(f"more than one machine: {usurper.done}")
    found += [] if first.died else ["it went on to the end"]
    await settle(await world.daemon(holder="s1@other"))
    return [*found, *await wrong(world, LAST)]
