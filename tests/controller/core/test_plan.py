"""The plan as a whole, on a small room."""

from controller.core.plan import plan
from controller.core.resolve import resolve
from manifests.kinds import Object
from tests.controller.core.objects import NOW, SITE, host, image, machine, network, room, session
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


def test_a_machine_deleted_with_its_session_leaves_dhcp_first_then_its_script_target_and_disk_go() -> None:
    world = converge(room(1, 2), host())
    deleted = {"deletedAt": NOW}
    objects = [network(), image(), machine(1), session(1), machine(2, meta=deleted), session(2, meta=deleted)]
    steps = plan(resolve(objects, SITE, NOW), world.observed, SITE).steps
    assert [type(step.action).__name__ for step in steps] == [
        "LoadDhcp",
        "DeleteBootFile",
        "WithdrawTarget",
        "DeleteOverlay",
    ]
    assert all("Machine/pc2" in step.owners for step in steps)
