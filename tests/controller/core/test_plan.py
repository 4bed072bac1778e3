"""The plan as a whole, on a small room."""

from controller.core.plan import plan
from controller.core.resolve import resolve
from manifests.kinds import Object
from tests.controller.core.objects import NOW, SITE, host, room
from tests.controller.core.simulate import World, apply, broken


def converge(objects: list[Object], world: World) -> World:
    for _ in range(3):
        world = apply(plan(resolve(objects, SITE, NOW), world.observed, SITE), world)
    return world


def test_an_empty_host_converges_and_then_stays() -> None:
    world = converge(room(1, 2), host())
    assert len(world.observed.targets) == 2
    assert len(world.observed.pool.overlays) == 2
    assert broken(world) == []
    assert plan(resolve(room(1, 2), SITE, NOW), world.observed, SITE).steps == ()
