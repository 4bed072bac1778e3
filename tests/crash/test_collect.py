"""P3 to P5, P10 for the versions of images: what goes has nothing standing on it, whatever dies, is late or looks back."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from controller.adapters.simulated.pool import MemoryPool
from controller.core.desired import Golden
from controller.core.observed import Stamp
from controller.core.resolve import resolve
from controller.core.steps import DeleteVersion, NoteUse
from controller.ports.host import PoolView
from controller.ports.store import Store
from controller.shell.index import Index
from controller.shell.observe import Host
from controller.shell.reconcile import Reconciler
from manifests.image import Image
from manifests.kinds import Object
from tests.crash.explore import Story, commit, explore, tell, writes_at_rest
from tests.crash.faults import Meter, die, error_at
from tests.crash.oracle import wrong
from tests.crash.sites import SITE, SIZE, Pc, site, thing
from tests.crash.world import Passed, World, of_snapshots, settle

KEPT = Pc(1, persistence="keep")
READONLY = Pc(3, version=3, persistence="readonly")
PINNED = Pc(4, image="demo@v4", running=False)
NEWEST = Pc(10, version=7)
END = (replace(KEPT, running=False), READONLY, PINNED, NEWEST)
LEFT = frozenset({("demo", 1), ("demo", 2), ("demo", 3), ("demo", 4), ("demo", 7), ("other", 1)})
CALLS = "pool.delete_version pool.note_use"


def shelf(*pcs: Pc, newest: int) -> list[Object]:
    """A set whose image demo keeps one version, and has a channel once it can."""
    channels = {"beta": "v2"} if newest > 1 else None
    retention = {"keep": 1, "unused": "1d"}
    demo = thing("Image", "demo", source={"path": "demo.raw"}, channels=channels, retention=retention)
    return [demo, *site(*pcs, images=("other",))]


def made(world: World, version: int) -> None:
    """The source is written anew and imported."""
    world.pool.put("demo.raw", bytes([version]) * SIZE)
    content, written = world.pool.sources["demo.raw"]
    world.pool.images["demo", version] = (content, Stamp(SIZE, written))
    world.pool.used["demo", version] = int(world.clock.time.timestamp()) // 86400


async def aged(world: World) -> None:
    """Seven versions, of which v5 and v6 are nobody's; then some days go by, and a kept disk is stopped."""
    made(world, 1)
    await world.commit(shelf(KEPT, newest=1))
    await settle(await world.daemon())
    for version in (2, 3):
        made(world, version)
    await world.commit(shelf(KEPT, READONLY, newest=3))
    await settle(await world.daemon())
    for version in (4, 5, 6, 7):
        made(world, version)
    await world.commit(shelf(*END, newest=7))
    world.clock.time += timedelta(days=3)


ON_NEWEST = replace(KEPT, version=3, running=False)


async def aged_and_asked(world: World) -> None:
    """Three versions, of which v1 is nobody's; some days later somebody asks that what was kept on v3 becomes the next."""
    for version in (1, 2, 3):
        made(world, version)
    for pc in (replace(ON_NEWEST, running=True), ON_NEWEST):
        await world.commit(shelf(pc, newest=3))
        await settle(await world.daemon())
    world.clock.time += timedelta(days=3)
    await commit(base=3)(world)


COMMIT = Story(
    "collect beside a commit",
    (),
    aged_and_asked,
    (ON_NEWEST,),
    frozenset({*((("demo", v)) for v in (2, 3, 4)), ("other", 1)}),
)
COLLECT = Story("collect", (), aged, END, LEFT)


async def forsaken(world: World) -> None:
    """An image on which nothing stands is deleted, and its time is nearly over."""
    await world.commit(site(KEPT))
    await settle(await world.daemon())
    await world.commit(site(KEPT, images=("demo",)))
    world.clock.time += timedelta(minutes=1)


FORSAKEN = Story("delete an image", (), forsaken, (KEPT,), frozenset({("demo", 1), ("other", 1)}))


@pytest.mark.parametrize("fault", [die, error_at])
def test_a_fault_at_any_call_while_an_image_is_deleted_leaves_it_noted_and_its_row_gone(fault: Any) -> None:
    worlds: list[World] = []

    def made() -> World:
        worlds.append(World())
        return worlds[-1]

    assert anyio.run(lambda: explore(FORSAKEN, fault if fault is error_at else lambda _: die, make=made)) == []
    assert {tuple(world.pool.released) for world in worlds} == {(("other", 1),)}


def test_an_image_that_is_deleted_leaves_what_is_in_use_and_after_its_time_nothing_else() -> None:
    async def told() -> list[object]:
        world, found = World(), list[object]()
        made(world, 1)
        await world.commit(site(KEPT, images=("demo", "other")))
        await settle(await world.daemon())
        await world.commit(site(KEPT, images=("demo",)))
        await settle(await world.daemon())
        found += [("Image/other" in {one.key for one in (await world.store.list())[0]}), set(world.pool.images)]
        world.clock.time += timedelta(days=16)
        await settle(await world.daemon())
        return [*found, set(world.pool.images), *await wrong(world, (KEPT,))]

    both, one = {("demo", 1), ("other", 1)}, {("demo", 1)}
    assert anyio.run(told) == [False, both, one]


def test_the_calls_at_which_it_is_made_to_die_are_made() -> None:
    meter = Meter()
    assert anyio.run(tell, COLLECT, meter) == []
    assert set(CALLS.split()) <= set(meter.calls)


def test_a_crash_at_any_call_that_collects_takes_nothing_that_anybody_stands_on() -> None:
    assert anyio.run(lambda: explore(COLLECT, calls=CALLS)) == []


@pytest.mark.parametrize("make", [World, of_snapshots])
def test_a_crash_at_any_call_on_images_while_one_is_committed_leaves_base_and_version(make: Callable[[], World]) -> None:
    assert anyio.run(lambda: explore(COMMIT, make=make, calls=f"{CALLS} pool.commit_overlay pool.vouch")) == []


@pytest.mark.parametrize("make", [World, of_snapshots])
def test_a_crash_now_and_then_takes_nothing_that_anybody_stands_on(make: Callable[[], World]) -> None:
    assert anyio.run(lambda: explore(COLLECT, make=make, every=29)) == []


def test_an_error_at_any_call_that_collects_is_got_over() -> None:
    assert anyio.run(lambda: explore(COLLECT, error_at, calls=CALLS)) == []


def test_what_is_collected_is_told_once_with_the_bytes_that_are_free() -> None:
    async def told() -> list[str]:
        world = World()
        await aged(world)
        daemon = await world.daemon()
        await settle(daemon)
        await settle(daemon)
        events = await world.store.events()
        return sorted(event.message for event in events if event.reason == "VersionCollected")

    freed = [f"demo@v{version}.raw (4096 bytes, last used 2026-01-02): 4096 bytes freed" for version in (5, 6)]
    assert anyio.run(told) == [f"collected {'; '.join(freed)}"]


def test_the_last_use_of_a_version_by_a_read_only_pc_is_noted_once_a_day_and_by_nobody_else() -> None:
    async def told() -> list[object]:
        world = World()
        await world.commit(site(Pc(1), Pc(3, persistence="readonly")))
        daemon = await world.daemon()
        await settle(daemon)
        passes: list[object] = []
        for hours in (1, 24, 1, 24):
            world.clock.time += timedelta(hours=hours)
            passes.append([type(result.step.action) for result in (await daemon.reconcile(None)).results])
            await settle(daemon)
        return [*passes, list(await writes_at_rest(world))]

    assert anyio.run(told) == [[], [NoteUse], [], [NoteUse], []]


def test_a_new_day_at_rest_is_looked_at_and_writes_nothing() -> None:
    async def told() -> tuple[list[object], bool]:
        world = World()
        await world.commit(site(Pc(1)))
        daemon = await world.daemon()
        for _ in range(4):
            await settle(daemon)
        version = world.store._version
        world.clock.time += timedelta(days=20)
        report = await daemon.reconcile(None)
        return [*report.results], world.store._version == version

    assert anyio.run(told) == ([], True)


# --- views that are old, and guards that are left out -------------------------------------------------------------


class Trusting(MemoryPool):
    """It takes away whatever it is told to."""

    def keep_standing(self, image: str, version: int) -> None:
        return None


@dataclass
class HalfListed(World):
    """``half``: the pool's listing tells of no disk, and says nothing of that."""

    half: bool = False

    def host(self) -> Host:
        pool: Any = _Half(self.pool, self)
        return replace(super().host(), pool=pool)


class _Half(Passed[HalfListed]):
    async def observe(self, images: Collection[Golden], machines: Collection[str] | None = None) -> PoolView:
        seen: PoolView = await self.real.observe(images, machines)
        return replace(seen, state=replace(seen.state, overlays={}, carried={})) if self.world.half else seen


async def half_listed(pool: MemoryPool) -> bool:
    """Whether v1 is there, on which a kept disk stands that is not listed, of a session that nobody has heard of."""
    world = HalfListed(pool=pool)
    await aged(world)
    daemon = await world.daemon()
    await settle(daemon)
    world.half = True
    await daemon.index.refresh(world.store, None, world.clock.now())
    daemon.index._uses.clear()
    await daemon.reconcile(None)
    return ("demo", 1) in world.pool.images


@dataclass
class Meanwhile(World):
    """``then`` happens once, while the pool is looked at."""

    then: list[Object] = field(default_factory=list)

    def host(self) -> Host:
        pool: Any = _Meanwhile(self.pool, self)
        return replace(super().host(), pool=pool)


class _Meanwhile(Passed[Meanwhile]):
    async def observe(self, images: Collection[Golden], machines: Collection[str] | None = None) -> PoolView:
        seen: PoolView = await self.real.observe(images, machines)
        if self.world.then:
            await self.world.commit(self.world.then)
            self.world.then = []
        return seen


async def promoted_meanwhile(process: type[Reconciler]) -> bool:
    """Whether v5 is there, at which a channel points since the pool was looked at."""
    world = Meanwhile(process=process)
    await aged(world)
    demo, *rest = shelf(*END, newest=7)
    world.then = [thing("Image", "demo", **{**demo.spec.wire(), "channels": {"beta": "v2", "stable": "v5"}}), *rest]
    await (await world.daemon()).reconcile(None)
    return ("demo", 5) in world.pool.images


class _Hasty(Index):
    __slots__ = ()

    async def current(self, store: Store) -> bool:
        return True


class _Deaf(Reconciler):
    __slots__ = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.index = _Hasty(self.site)


def test_a_channel_that_is_moved_while_the_pool_is_looked_at_finds_its_version() -> None:
    assert anyio.run(promoted_meanwhile, Reconciler)
    assert not anyio.run(promoted_meanwhile, _Deaf)


def test_a_listing_that_leaves_out_disks_costs_no_version_that_a_disk_stands_on() -> None:
    assert anyio.run(half_listed, MemoryPool())
    assert not anyio.run(half_listed, Trusting())


def test_what_is_remembered_of_uses_from_change_to_change_is_what_all_objects_tell() -> None:
    async def told() -> list[bool]:
        world = World()
        daemon = await world.daemon()
        same = []
        for pcs in (
            (KEPT, PINNED),
            (KEPT, READONLY),
            (replace(KEPT, image="demo@v1"),),
            (replace(KEPT, second=True),),
            (),
            (KEPT, READONLY, PINNED),
        ):
            await world.commit(shelf(*pcs, newest=1))
            for _ in range(3):
                claims = await world.store.claim(world.clock.now(), 100)
                await daemon.reconcile(frozenset(claim.key for claim in claims))
                await world.store.done(claims)
            await daemon.index.refresh(world.store, None, world.clock.now())
            objects, _ = await world.store.list()
            told = resolve(objects, SITE, world.clock.now()).uses
            same.append({version: set(keys) for version, keys in daemon.index.desired(None).uses.items()} == told)
        return same

    assert anyio.run(told) == [True] * 6


def test_a_pass_over_one_machine_tells_the_same_of_every_version_as_a_sweep() -> None:
    async def told() -> tuple[list[tuple[str, ...]], bool]:
        world = World()
        await aged(world)
        daemon = await world.daemon()
        for _ in range(3):
            await settle(daemon)
        version = world.store._version
        await daemon.reconcile(frozenset({f"Machine/{NEWEST.name}"}))
        demo = (await world.store.fetch(["Image/demo"]))["Image/demo"]
        assert isinstance(demo, Image)
        assert demo.status is not None
        return [one.kept_by for one in demo.status.versions], world.store._version == version

    kept = [("private disks",), ("channel beta",), ("Session/pc3",), ("Session/pc4",), ("newest",)]
    assert anyio.run(told) == (kept, True)


def test_the_collection_is_in_the_plan_before_it_is_done() -> None:
    async def told() -> set[object]:
        world = World()
        await aged(world)
        daemon = await world.daemon()
        await daemon.index.refresh(world.store, None, world.clock.now())
        observed = await daemon.view.sweep(world.host(), daemon.index.desired(None))
        decided = world.decide()(daemon.index.desired(None), observed, daemon.site)
        return {step.action for step in decided.due if isinstance(step.action, DeleteVersion)}

    assert anyio.run(told) == {DeleteVersion("demo", 5), DeleteVersion("demo", 6)}
