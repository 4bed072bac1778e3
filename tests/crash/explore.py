"""Stories, and what goes wrong in them: at every moment of each, one fault; then the work must be finished all the same."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from controller.ports.store import Fenced, StoreError
from tests.crash.faults import Crash, Fault, Meter, die
from tests.crash.oracle import wrong
from tests.crash.sites import SIZE, Pc, site
from tests.crash.world import Busy, World, settle

Change = Callable[[World], Awaitable[None]]
PC1, PC10 = Pc(1), Pc(10)


@dataclass(frozen=True)
class Story:
    """``before`` are sets that are reached first, one after the other; then comes the change; ``end`` is what must be."""

    name: str
    before: tuple[tuple[Pc, ...], ...]
    change: Change
    end: tuple[Pc, ...]


def to(*pcs: Pc) -> Change:
    async def commit(world: World) -> None:
        await world.commit(site(*pcs))

    return commit


async def _new_bytes(world: World) -> None:
    world.pool.put("demo.raw", b"new " * (SIZE // 4))
    await world.commit(site(PC10))
    await settle(await world.daemon())
    await world.commit(site(PC1, PC10))


async def _reboot(world: World) -> None:
    with world.by_hand():
        world.kernel.clear()
        world.move_in_again()
        world.dhcp.kill()


BOTH = (PC1, PC10)
OTHER = (replace(PC1, image="other"), PC10)
SWAPPED = (replace(PC1, card=10), replace(PC10, card=1))
KEPT = (replace(PC1, persistence="keep"), PC10)
READONLY = (replace(PC1, persistence="readonly"), PC10)
STOPPED = (replace(PC1, running=False), PC10)

START = Story("start", (), to(*BOTH), BOTH)
STOP = Story("stop", (BOTH,), to(*STOPPED), STOPPED)
REBOOT = Story("restart of the boot server", (BOTH,), _reboot, BOTH)
CORE = (
    START,
    STOP,
    Story("remove", (BOTH,), to(PC10), (PC10,)),
    Story("change the image", (BOTH,), to(*OTHER), OTHER),
    REBOOT,
)
MORE = (
    Story("swap the cards", (BOTH,), to(*SWAPPED), SWAPPED),
    Story("restart on new bytes", (BOTH,), _new_bytes, (replace(PC1, version=2), PC10)),
    Story("make it read-only", (BOTH,), to(*READONLY), READONLY),
    Story("stop and keep", (KEPT,), to(replace(KEPT[0], running=False), PC10), (replace(KEPT[0], running=False), PC10)),
    Story("start what was kept", (KEPT, (replace(KEPT[0], running=False), PC10)), to(*KEPT), KEPT),
    Story("a new machine under an old name", (BOTH, (PC10,)), to(*BOTH), BOTH),
    Story("remove everything", (BOTH,), to(), ()),
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
    twice = [f"{name} was made {count} times" for name, count in world.pool.made.items() if count > 1]
    return [*found, *twice, *await writes_at_rest(world)]


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
    """What is wrong in the end, with the fault at each moment (or each so many-th, or those of one call) of the story."""
    meter = Meter()
    found = await tell(story, meter, make)
    if found:
        return [f"no fault at all: {what}" for what in found]
    assert meter.count > 20, "the meter must be in the way of every call"
    moments = [at for at, call in enumerate(meter.calls, 1) if not calls or call == calls][::every]
    failures = []
    for at in moments:
        failures += [f"fault at {at} of {meter.count}: {what}" for what in await tell(story, Meter(at, fault(at)), make)]
    return failures
