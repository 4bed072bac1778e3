"""A commit makes one whole version or none, whenever the process dies, and its session goes on with the disk that it had."""

from collections.abc import Callable

import anyio
import pytest

from manifests.commits import COMMIT
from tests.crash.explore import COMMITS, KEPT, PC1, PC10, Story, commit, explore, prepare, writes_at_rest
from tests.crash.oracle import wrong
from tests.crash.sites import SIZE, Pc, site
from tests.crash.world import World, of_snapshots, settle


@pytest.mark.parametrize("make", [World, of_snapshots], ids=["files", "snapshots"])
@pytest.mark.parametrize("story", COMMITS, ids=lambda story: story.name)
def test_a_crash_at_any_call_of_a_commit_leaves_it_done_once(story: Story, make: Callable[[], World]) -> None:
    worlds: list[World] = []

    def made() -> World:
        worlds.append(make())
        return worlds[-1]

    assert anyio.run(lambda: explore(story, make=made)) == []
    assert len(worlds) > 20
    for world in worlds:
        versions = sorted(version for image, version in world.pool.images if image == "demo")
        assert versions == [1, 2]
        assert [one for one in world.pool.identities.values() if one] == ["commit " + "c" * 32]


def asked(pcs: tuple[Pc, ...], base: int = 1) -> tuple[World, list[str]]:
    """A commit of pc1, with the world at rest, and what is wrong in it."""

    async def tell() -> tuple[World, list[str]]:
        world = await prepare(Story("", (pcs,), commit(base=base), pcs), World)
        await settle(await world.daemon())
        return world, [*await wrong(world, pcs), *await writes_at_rest(world)]

    return anyio.run(tell)


def test_a_commit_of_what_is_not_the_newest_or_not_kept_is_told_and_forgotten() -> None:
    for pcs, base, reason in ((KEPT, 7, "NothingKept"), ((PC1, PC10), 2, "NothingKept")):
        world, found = asked(pcs, base)
        assert found == []
        assert {version for image, version in world.pool.images if image == "demo"} == {1}
        told = anyio.run(world.store.events, "Session/pc1")
        assert reason in {event.reason for event in told}


def test_a_commit_waits_for_a_pc_that_is_on_and_cuts_nothing() -> None:
    async def tell() -> None:
        world = World()
        await world.commit(site(*KEPT))
        daemon = await world.daemon()
        await settle(daemon)
        assert world.boots(KEPT[0])
        [text] = [name for name in world.pool.overlays if name.startswith("pc1.")]
        world.pool.overlays[text][:4] = b"mine"
        await commit()(world)
        await settle(daemon)
        assert ("demo", 2) not in world.pool.images
        session = (await world.store.get("Session/pc1")).status
        assert session is not None
        waits = session.condition("Committing")
        assert waits is not None
        assert "is running on this disk" in waits.message
        assert session.phase == "Committing"
        world.shuts_down(KEPT[0].acl)
        await settle(daemon)
        assert world.pool.images["demo", 2][0][:4] == b"mine"
        told = {event.reason for event in await world.store.events()}
        assert "Committed" in told
        assert "Drifted" not in told, [event for event in await world.store.events() if event.reason == "Drifted"]
        assert await wrong(world, KEPT) == []

    anyio.run(tell)


def test_a_commit_that_is_called_off_while_it_waits_leaves_the_pc_its_disk_and_makes_nothing() -> None:
    async def tell() -> None:
        world = World()
        await world.commit(site(*KEPT))
        daemon = await world.daemon()
        await settle(daemon)
        assert world.boots(KEPT[0])
        await commit()(world)
        await settle(daemon)
        await world.store.annotate("Session/pc1", {COMMIT: None})
        await settle(daemon)
        session = (await world.store.get("Session/pc1")).status
        assert session is not None
        over = session.condition("Committing")
        assert over is not None
        assert (session.phase, over.status) == ("Active", "False")
        world.shuts_down(KEPT[0].acl)
        await settle(daemon)
        assert ("demo", 2) not in world.pool.images
        assert await wrong(world, KEPT) == []

    anyio.run(tell)


def test_a_base_that_is_no_longer_the_newest_is_not_committed() -> None:
    async def tell() -> None:
        world = World()
        await world.commit(site(*KEPT))
        await settle(await world.daemon())
        world.pool.put("demo.raw", b"new " * (SIZE // 4))
        await settle(await world.daemon())
        await commit()(world)
        await settle(await world.daemon())
        assert [version for image, version in sorted(world.pool.images) if image == "demo"] == [1, 2]
        assert "BaseNotNewest" in {event.reason for event in await world.store.events("Session/pc1")}
        assert await wrong(world, KEPT) == []

    anyio.run(tell)
