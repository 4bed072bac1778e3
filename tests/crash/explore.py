"""Stories, and what goes wrong in them: at every moment of each, one fault; then the work must be finished all the same."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from controller.ports.store import Fenced, StoreError
from manifests.commits import COMMIT, CommitRequest
from tests.crash.faults import Crash, Fault, Meter, die
from tests.crash.oracle import wrong
from tests.crash.sites import SIZE, Pc, site, thing
from tests.crash.world import Busy, World, settle

Change = Callable[[World], Awaitable[None]]
PC1, PC10 = Pc(1), Pc(10)


@dataclass(frozen=True)
class Story:
    """``before`` are sets that are reached first, one after the other; then comes the change; ``end`` is what must be.

    ``images`` are the versions that are left in the pool in the end, where that matters.
    """

    name: str
    before: tuple[tuple[Pc, ...], ...]
    change: Change
    end: tuple[Pc, ...]
    images: frozenset[tuple[str, int]] | None = None


def to(*pcs: Pc) -> Change:
    async def commit(world: World) -> None:
        await world.commit(site(*pcs))

    return commit


async def _new_bytes(world: World) -> None:
    world.pool.put("demo.raw", b"new " * (SIZE // 4))
    await world.commit(site(PC10))
    await settle(await world.daemon())
    await world.commit(site(PC1, PC10))


async def _from_elsewhere(world: World) -> None:
    """One image is fetched, and another was uploaded; neither is left where it came to."""
    url, upload = "https://images.example/demo.raw", "0" * 32
    world.pool.put(url, b"far " * (SIZE // 4))
    world.pool.put(upload, b"sent" * (SIZE // 4))
    world.pool.brought |= {f"upload {upload}", f"sha256 {'b' * 64}"}
    images = (
        thing("Image", "demo", source={"url": url, "sha256": "a" * 64}),
        thing("Image", "other", source={"upload": upload}),
    )
    await world.commit([*site(*OTHER, images=()), *images])


async def _reboot(world: World) -> None:
    with world.by_hand():
        world.kernel.clear()
        world.pool.restart()
        world.move_in_again()
        world.dhcp.kill()


async def _run_full(world: World) -> None:
    with world.by_hand():
        world.pool.full |= {name for name in world.pool.overlays if name.startswith("pc1.")}


async def _lose_file(world: World) -> None:
    with world.by_hand():
        for name in [name for name in world.pool.overlays if name.startswith("pc1.")]:
            del world.pool.overlays[name]


async def _lose_device(world: World) -> None:
    with world.by_hand():
        world.kernel.clear()
        world.move_in_again()
        world.pool.devices = {device: name for device, name in world.pool.devices.items() if name.startswith("pc10.")}


def commit(name: str = "pc1", base: int = 1) -> Change:
    """Somebody asks that what this PC has kept becomes a version."""

    async def ask(world: World) -> None:
        request = CommitRequest("c" * 32, "os", "demo", base, "api:ada")
        await world.store.annotate(f"Session/{name}", {COMMIT: str(request)})

    return ask


BOTH = (PC1, PC10)
OTHER = (replace(PC1, image="other"), PC10)
SWAPPED = (replace(PC1, card=10), replace(PC10, card=1))
KEPT = (replace(PC1, persistence="keep"), PC10)
READONLY = (replace(PC1, persistence="readonly"), PC10)
STOPPED = (replace(PC1, running=False), PC10)

TWO = (replace(PC1, second=True), PC10)

START = Story("start", (), to(*BOTH), BOTH)
STOP = Story("stop", (BOTH,), to(*STOPPED), STOPPED)
REBOOT = Story("restart of the boot server", (BOTH,), _reboot, BOTH)
CORE = (
    START,
    STOP,
    Story("remove", (BOTH,), to(PC10), (PC10,)),
    Story("change the image", (BOTH,), to(*OTHER), OTHER),
    REBOOT,
    Story("start with two disks", (BOTH,), to(*TWO), TWO),
)
MORE = (
    Story("swap the cards", (BOTH,), to(*SWAPPED), SWAPPED),
    Story("restart on new bytes", (BOTH,), _new_bytes, (replace(PC1, version=2), PC10)),
    Story("make it read-only", (BOTH,), to(*READONLY), READONLY),
    Story("stop and keep", (KEPT,), to(replace(KEPT[0], running=False), PC10), (replace(KEPT[0], running=False), PC10)),
    Story("start what was kept", (KEPT, (replace(KEPT[0], running=False), PC10)), to(*KEPT), KEPT),
    Story("a new machine under an old name", (BOTH, (PC10,)), to(*BOTH), BOTH),
    Story("remove everything", (BOTH,), to(), ()),
    Story("take a second disk away", (TWO,), to(*BOTH), BOTH),
    Story("restart with two disks", (TWO,), _reboot, TWO),
)


FROM_ELSEWHERE = Story("bring images from elsewhere", (), _from_elsewhere, OTHER)
SNAPSHOTS = (
    START,
    STOP,
    REBOOT,
    Story("restart with a kept one", (KEPT,), _reboot, KEPT),
    Story("a disk runs full", (BOTH,), _run_full, BOTH),
    Story("a disk's file is removed", (BOTH,), _lose_file, BOTH),
    Story("a device vanishes", (BOTH,), _lose_device, BOTH),
    Story("keep it from now on", (BOTH,), to(*KEPT), KEPT),
    Story("a second disk comes", (BOTH,), to(*TWO), TWO),
    *(story for story in MORE if story.name in ("make it read-only", "start what was kept", "remove everything")),
)


STOPPED_KEPT = (replace(KEPT[0], running=False), PC10)
COMMITS = (
    Story("commit", (KEPT,), commit(), KEPT),
    Story("commit what is stopped", (KEPT, STOPPED_KEPT), commit(), STOPPED_KEPT),
)


class Dying:
    """The death of a process, wherever in a group of tasks it happened: by itself, or because its store is away."""

    died = False

    def __enter__(self) -> "Dying":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        self.died = error is not None
        return error is not None and all(isinstance(leaf, Crash | StoreError | Fenced) for leaf in leaves(error))


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


async def prepare(story: Story, make: Callable[[], World]) -> World:
    """The world right behind the change."""
    world = make()
    for pcs in story.before:
        await world.commit(site(*pcs))
        await settle(await world.daemon())
    await story.change(world)
    return world


async def tell(story: Story, meter: Meter, make: Callable[[], World] = World) -> list[str]:
    """What is wrong in the end, when the fault happens where the meter says and a process that died is started again."""
    try:
        world = await prepare(story, make)
        await _through(world, meter)
    except Busy as busy:
        return [str(busy)]
    found = await wrong(world, story.end)
    again = story.change is _lose_file  # what is lost is made anew
    twice = [f"{name} was made {count} times" for name, count in world.pool.made.items() if count > 1 + again]
    left = frozenset(world.pool.images)
    kept = [f"the pool holds {sorted(left)}"] if story.images is not None and story.images != left else []
    return [*found, *twice, *kept, *await writes_at_rest(world)]


async def _through(world: World, meter: Meter) -> None:
    daemon = await world.daemon(meter)
    with Dying() as first:
        await settle(daemon)
    meter.at = None
    if first.died:
        await settle(await world.daemon())


async def writes_at_rest(world: World) -> list[str]:
    """P2: a process that knows nothing, looking at a world that is right, leaves it alone."""
    meter = Meter()
    version = world.store._version
    report = await (await world.daemon(meter)).reconcile(None)
    outside = [result.step.action for result in report.results]
    return [f"at rest: {outside}"] if outside or world.store._version != version else []


async def explore(
    story: Story,
    fault: Callable[[int], Fault] = lambda _: die,
    make: Callable[[], World] = World,
    every: int = 1,
    calls: str = "",
) -> list[str]:
    """What is wrong in the end, with the fault at each moment (or each so many-th, or those of these calls) of the story."""
    meter = Meter()
    found = await tell(story, meter, make)
    if found:
        return [f"no fault at all: {what}" for what in found]
    assert meter.count > 5, "the meter must be in the way of every call"
    moments = [at for at, call in enumerate(meter.calls, 1) if not calls or call in calls.split()][::every]
    failures = []
    for at in moments:
        failures += [f"fault at {at} of {meter.count}: {what}" for what in await tell(story, Meter(at, fault(at)), make)]
    return failures
