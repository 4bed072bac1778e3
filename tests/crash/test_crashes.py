"""P4: the process may die before and after every call, and a new one with no memory finishes the work."""

from collections.abc import Awaitable, Callable, Iterator

import anyio
import pytest

from tests.crash.world import SIZE, Crash, Meter, World, settle, site, wrong

Change = Callable[[World], Awaitable[None]]


async def start(world: World) -> None:
    await world.commit(site("pc1", "pc10"))


async def stop(world: World) -> None:
    await world.commit(site("pc10", stopped=("pc1",)))


async def remove(world: World) -> None:
    await world.commit(site("pc10"))


async def other_image(world: World) -> None:
    world.pool.put("other.raw", b"\1" * SIZE)
    await world.commit(site("pc1", "pc10", image="other"))


async def reboot(world: World) -> None:
    world.kernel.clear()
    world.dhcp.kill()


# name, what stands before it, the change, who runs in the end, and which image
STORIES: list[tuple[str, list[Change], Change, tuple[str, ...], str]] = [
    ("start", [], start, ("pc1", "pc10"), "demo"),
    ("stop", [start], stop, ("pc10",), "demo"),
    ("remove", [start], remove, ("pc10",), "demo"),
    ("change the image", [start], other_image, ("pc1", "pc10"), "other"),
    ("restart of the boot server", [start], reboot, ("pc1", "pc10"), "demo"),
]


async def tell(before: list[Change], change: Change, meter: Meter) -> World:
    """The world after a change during which the process died where the meter says, and a new one went on."""
    world = World()
    for earlier in before:
        await earlier(world)
        await settle(await world.daemon())
    await change(world)
    with Dying():
        await settle(await world.daemon(meter))
    meter.at = None
    await settle(await world.daemon())
    return world


class Dying:
    """The death of a process, wherever in a group of tasks it happened."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        return error is not None and all(isinstance(leaf, Crash) for leaf in _leaves(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story[0])
def test_a_crash_at_any_call_loses_nothing_and_makes_nothing_twice(
    story: tuple[str, list[Change], Change, tuple[str, ...], str],
) -> None:
    _, before, change, running, image = story
    meter = Meter()
    whole = anyio.run(tell, before, change, meter)
    assert anyio.run(wrong, whole, running, image) == []
    moments = meter.count
    assert moments > 20, "the meter must be in the way of every call"
    for at in range(1, moments + 1):
        world = anyio.run(tell, before, change, Meter(at))
        assert anyio.run(wrong, world, running, image) == [], f"died at call {at} of {moments}"
        assert set(world.pool.made.values()) == {1}, f"died at call {at} of {moments}: an overlay was made twice"
