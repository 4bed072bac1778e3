"""Two boot servers with one store: what is one's own affair the other neither ends nor forgets."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from controller.core.names import Site
from controller.shell.reconcile import Reconciler
from manifests.kinds import Object
from manifests.machine import Machine
from tests.crash.explore import KEPT, PC10, commit
from tests.crash.sites import SITE, Pc, site
from tests.crash.world import WatchedStore, World, overlays, settle

THERE = Site(SITE.prefix, SITE.site, "s2")


def served(pcs: Iterable[Pc], servers: dict[str, str]) -> list[Object]:
    """A whole set, each of its machines with the server that has it."""
    return [
        one.model_copy(update={"spec": one.spec.model_copy(update={"server": servers[one.name]})})
        if isinstance(one, Machine)
        else one
        for one in site(*pcs)
    ]


@dataclass
class Pair:
    """``here`` serves pc10, ``there`` pc1, and both read one store."""

    here: World
    there: World
    mine: Reconciler
    theirs: Reconciler

    @classmethod
    async def of(cls, *pcs: Pc) -> "Pair":
        here = World()
        there = World(store=here.store, clock=here.clock)
        await here.commit(served(pcs, {"pc1": "s2", "pc10": "s1"}))
        lease = await here.store.acquire("controller/s2", "s2@test", here.clock.now(), 1e7)
        assert lease is not None
        store = WatchedStore(there.store, there)
        theirs = Reconciler(store, there.host(), THERE, there.clock, lease, there.decide())  # type: ignore[arg-type]
        found = cls(here, there, await here.daemon(), theirs)
        await found.settle()
        return found

    async def settle(self) -> None:
        """Whatever is to be told, this server hears of it first."""
        for _ in range(3):
            await settle(self.mine)
            await settle(self.theirs)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_commit_on_another_server_is_not_ended_by_one_that_has_no_such_disk() -> None:
    pair = await Pair.of(*KEPT)
    await commit()(pair.there)
    await pair.settle()
    assert ("demo", 2) in pair.there.pool.images
    assert ("demo", 2) not in pair.here.pool.images
    assert "NothingKept" not in {event.reason for event in await pair.there.store.events()}


@pytest.mark.anyio
@pytest.mark.parametrize("leaves", [True, False], ids=["with its machine", "alone"])
async def test_what_is_deleted_is_known_until_its_own_server_has_let_go_of_it(leaves: bool) -> None:
    pair = await Pair.of(*KEPT)
    assert pair.there.boots(KEPT[0])
    kept = served((PC10,) if leaves else KEPT, {"pc1": "s2", "pc10": "s1"})
    await pair.here.commit([one for one in kept if one.key != "Session/pc1"])
    await pair.settle()
    assert (await pair.there.store.get("Session/pc1")).metadata.deleted_at is not None, "its PC still runs"
    assert "pc1" in overlays(pair.there)
    pair.there.shuts_down(KEPT[0].acl)
    await pair.settle()
    assert "pc1" not in overlays(pair.there)
    assert "Session/pc1" not in await pair.there.store.fetch(["Session/pc1"])
