"""The store goes away and comes back: what PCs boot from stays, nothing is withdrawn, and nothing is forgotten."""

from collections.abc import Sequence
from dataclasses import replace

import anyio
import pytest

from controller.ports.store import StoreError
from tests.crash.hands import DAMAGES, damage
from tests.crash.oracle import wrong
from tests.crash.sites import Pc, site
from tests.crash.world import World, nothing, settle

PC1, PC2, PC10 = Pc(1), Pc(2), Pc(10)
_STORE = frozenset({"fetch", "versions", "orphans", "report", "claim", "remove", "mark", "done"})


def away(when: str, call: str, subject: object) -> None:
    if call in _STORE:
        raise StoreError(f"{call}: nobody answers")


class Away:
    """The store answers so many calls, and then none."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, when: str, call: str, subject: object) -> None:
        if call in _STORE and when == "before":
            self.left -= 1
            if self.left < 0:
                raise StoreError(f"{call}: nobody answers")


async def served(*pcs: Pc) -> World:
    world = World()
    await world.commit(site(*pcs))
    await settle(await world.daemon())
    return world


@pytest.mark.parametrize("sweeps", [False, True])
@pytest.mark.parametrize("after", range(0, 14))
def test_what_was_decided_meanwhile_is_done_afterwards_wherever_the_store_went_away(after: int, sweeps: bool) -> None:
    """The store goes at any of its calls in the pass that brings in a change."""

    async def run() -> list[str]:
        world = await served(PC1, PC10)
        daemon = await world.daemon()
        await settle(daemon)
        await world.commit(site(replace(PC1, image="other"), PC2))
        claims = await world.store.claim(world.clock.now(), 100)
        world.fault = Away(after)
        try:
            await daemon.reconcile(None if sweeps else frozenset(claim.key for claim in claims))
        except StoreError:
            world.fault = away
            for _ in range(2):
                await daemon.keep()
        world.fault = nothing
        await daemon.recover(1e7)
        again = await world.store.claim(world.clock.now(), 100)
        assert {claim.key for claim in claims} <= {claim.key for claim in again}
        await settle(daemon)
        return await wrong(world, (replace(PC1, image="other"), PC2))

    assert anyio.run(run) == []


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_somebody_breaks_meanwhile_is_put_right_meanwhile(kind: str) -> None:
    async def run() -> tuple[list[str], Sequence[object]]:
        world = await served(PC1, PC10)
        daemon = await world.daemon()
        await settle(daemon)
        world.fault = away
        with world.by_hand():
            damage(world, PC1, kind)
        done = [step for _ in range(3) for step in await daemon.keep()]
        return await wrong(world, (PC1, PC10), ready=False), done

    found, done = anyio.run(run)
    assert found == []
    assert done


def test_nothing_is_withdrawn_or_deleted_while_nobody_can_say_what_is_wanted() -> None:
    """A pass had read that one PC is to go, and lost the store before it did anything."""

    async def run() -> list[str]:
        world = await served(PC1, PC10)
        daemon = await world.daemon()
        await settle(daemon)
        await world.commit(site(PC10))
        await daemon.index.refresh(daemon.store, None, world.clock.now())
        world.fault = away
        await daemon.keep()
        return await wrong(world, (PC1, PC10), ready=False)

    assert anyio.run(run) == []


def test_a_controller_that_was_replaced_meanwhile_stops() -> None:
    async def run() -> None:
        world = await served(PC1)
        daemon = await world.daemon(seconds=30)
        await settle(daemon)
        world.clock.time = world.clock.time.replace(year=world.clock.time.year + 1)
        assert await world.store.acquire("controller/s1", "another", world.clock.now(), 30) is not None
        await daemon.recover(30)

    with pytest.raises(Exception, match="no longer holds"):
        anyio.run(run)
