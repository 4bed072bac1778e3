"""P1, P4 to P7: errors, things done though they failed, clocks that jump, leases that are lost, views that are old."""

from datetime import timedelta

import anyio
import pytest

from controller.shell.reconcile import Reconciler
from tests.crash.explore import CORE, MORE, REBOOT, START, STOP, Story, explore, prepare, writes_at_rest
from tests.crash.faults import Meter, error_at
from tests.crash.oracle import wrong
from tests.crash.sites import Pc, site
from tests.crash.stale import StaleWorld
from tests.crash.usurper import taken_over
from tests.crash.world import World, settle

NAMED = {story.name: story for story in (*CORE, *MORE)}


@pytest.mark.parametrize("story", [START, STOP, REBOOT], ids=lambda story: story.name)
def test_an_error_at_any_third_call_with_or_without_its_effect_is_got_over(story: Story) -> None:
    assert anyio.run(lambda: explore(story, error_at, every=3)) == []


@pytest.mark.parametrize("name", ["remove", "change the image", "swap the cards", "stop and keep"])
def test_an_error_now_and_then_is_got_over(name: str) -> None:
    assert anyio.run(lambda: explore(NAMED[name], error_at, every=11)) == []


@pytest.mark.parametrize("hours", [-30, 30])
@pytest.mark.parametrize("story", [START, STOP], ids=lambda story: story.name)
def test_a_clock_that_jumps_is_got_over(story: Story, hours: int) -> None:
    worlds: list[World] = []

    def make() -> World:
        worlds.append(World())
        return worlds[-1]

    def jump(when: str, call: str, subject: object) -> None:
        worlds[-1].clock.time += timedelta(hours=hours)

    assert anyio.run(lambda: explore(story, lambda _: jump, make, every=17)) == []


@pytest.mark.parametrize("part", ["lio", "pool", "tftp", "dhcp"])
@pytest.mark.parametrize("story", [START, STOP, REBOOT, NAMED["swap the cards"]], ids=lambda story: story.name)
def test_an_old_view_of_a_part_of_the_host_costs_nothing_newer_and_is_got_over(story: Story, part: str) -> None:
    """P5, for each time that there was to be seen."""

    async def tell(time: int) -> list[str]:
        world = StaleWorld(part=part)
        await world.remember()
        for pcs in story.before:
            await world.commit(site(*pcs))
            await settle(await world.daemon())
            await world.remember()
        await story.change(world)
        daemon = await world.daemon()
        world.old = world.remembered[time]
        await daemon.reconcile(None)
        world.old = None
        await settle(daemon)
        twice = [f"{name} was made again" for name, count in world.pool.made.items() if count > 1]
        found = [*await wrong(world, story.end), *twice, *await writes_at_rest(world)]
        # A script that is not seen cannot be taken away before its target is.
        return [what for what in found if part != "tftp" or not what.startswith("P9")]

    for time in range(len(story.before) + 1):
        assert anyio.run(tell, time) == []


@pytest.mark.parametrize("story", [START, STOP, NAMED["swap the cards"]], ids=lambda story: story.name)
def test_a_change_that_arrives_at_any_fifth_moment_of_a_pass_is_done_without_another_sweep(story: Story) -> None:
    """P6: nobody looks at everything again; the dirty set alone must bring it."""
    last = (Pc(1, image="other"), Pc(2), Pc(10, running=False))

    async def tell(meter: Meter) -> list[str]:
        world = await prepare(story, World)

        def commit(when: str, call: str, subject: object) -> None:
            _now(world.commit(site(*last)))

        meter.fault = commit
        daemon = await world.daemon(meter)
        again = await _claimed(daemon, None)
        for _ in range(6):
            again = await _claimed(daemon, again)
        return await wrong(world, last if meter.at else story.end)

    async def all_of_them() -> list[str]:
        whole = Meter()
        failures = await tell(whole)
        for at in range(1, whole.count, 5):
            failures += [f"at {at}: {what}" for what in await tell(Meter(at))]
        return failures

    assert anyio.run(all_of_them) == []


async def _claimed(daemon: Reconciler, again: frozenset[str] | None) -> frozenset[str]:
    """A pass over what is dirty and what can go on; None: over everything."""
    claims = await daemon.store.claim(daemon.clock.now(), 100)
    if again is not None and not claims and not again:
        return frozenset()
    report = await daemon.reconcile(None if again is None else again | {claim.key for claim in claims})
    await daemon.store.done(claims)
    return report.again


def _now(work: object) -> None:
    """Runs what never waits: a store in memory, from inside a hook."""
    try:
        work.send(None)  # type: ignore[attr-defined]
    except StopIteration:
        return
    raise AssertionError("it waited")


@pytest.mark.parametrize("story", [START, STOP], ids=lambda story: story.name)
def test_a_controller_that_was_taken_over_from_starts_no_further_step_and_writes_no_row(story: Story) -> None:
    """P7."""
    assert anyio.run(taken_over, story) == []
