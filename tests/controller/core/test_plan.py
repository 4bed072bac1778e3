"""The plan as a whole, on a small room."""

from typing import Any

import pytest

from controller.core.plan import plan
from controller.core.resolve import resolve
from controller.core.steps import Step
from manifests.kinds import Object
from tests.controller.core.objects import NOW, SITE, host, image, mac, machine, network, room, session, stored
from tests.controller.core.simulate import World, adverts, apply, broken


def converge(objects: list[Object], world: World) -> World:
    for _ in range(3):
        world = apply(plan(resolve(objects, SITE, NOW), world.observed, SITE), world)
    return world


def once(objects: list[Object], world: World) -> World:
    """One pass, with a look behind each step: no script may lead to a target that is not whole."""
    return apply(plan(resolve(objects, SITE, NOW), world.observed, SITE), world, _whole)


def _whole(world: World, step: Step) -> None:
    assert broken(world) == [], f"after {step.action}"


def test_an_empty_host_converges_and_then_stays() -> None:
    world = converge(room(1, 2), host())
    assert len(world.observed.targets) == 2
    assert len(world.observed.pool.overlays) == 2
    assert broken(world) == []
    assert plan(resolve(room(1, 2), SITE, NOW), world.observed, SITE).steps == ()


def test_a_machine_deleted_with_its_session_leaves_dhcp_first_then_its_script_target_and_disk_go() -> None:
    world = converge(room(1, 2), host())
    deleted = {"deletedAt": NOW}
    objects: list[Object] = [network(), image(), machine(1), session(1), machine(2, meta=deleted), session(2, meta=deleted)]
    steps = plan(resolve(objects, SITE, NOW), world.observed, SITE).steps
    assert [type(step.action).__name__ for step in steps] == [
        "LoadDhcp",
        "DeleteBootFile",
        "WithdrawTarget",
        "DeleteOverlay",
    ]
    assert all("Machine/pc2" in step.owners for step in steps)


@pytest.mark.parametrize(
    ("meta", "spec"),
    [({}, {"state": "stopped"}), ({"deletedAt": NOW}, {}), ({"deletedAt": NOW}, {"persistence": "keep"})],
)
def test_a_suspended_session_is_left_alone_also_once_it_runs_no_more(meta: dict[str, Any], spec: dict[str, Any]) -> None:
    running = session(1, persistence=spec.get("persistence", "ephemeral"))
    world = converge([network(), image(), machine(1), running], host())
    suspended = session(1, meta={"annotations": {"ggnet/paused": "true"}, **meta}, **spec)
    objects: list[Object] = [network(), image(), machine(1), suspended]
    steps = plan(resolve(objects, SITE, NOW), world.observed, SITE).steps
    assert {step.held for step in steps} == {"suspended: ggnet resume Session/pc1"}
    assert converge(objects, world).observed == world.observed
    resumed: list[Object] = [*objects[:3], session(1, meta=meta, **spec)]
    assert not converge(resumed, world).observed.targets


def test_a_session_that_was_suspended_and_stopped_is_not_in_the_way_of_another() -> None:
    world = converge(room(1), host())
    aside = session(1, meta={"annotations": {"ggnet/paused": "true"}}, state="stopped")
    new = stored("Session", "exam", {"machine": "pc1", "image": "win11"})
    objects: list[Object] = [network(), image(), machine(1), aside, new]
    before, after = (one.observed.targets[SITE.target("pc1")].facts for one in (world, converge(objects, world)))
    assert before != after


def test_a_card_that_moves_to_another_machine_leads_to_its_new_disk_alone() -> None:
    world = converge(room(1, 2), host())
    moved: list[Object] = [network(), image(), machine(1, macs=[mac(7)]), session(1), machine(2, macs=[mac(2), mac(1)])]
    world = once([*moved, session(2)], world)
    assert broken(world) == []
    leads = {path.rpartition("/")[2]: target for path, target, _, _ in adverts(world)}
    assert leads == {
        f"{mac(7).replace(':', '-')}.ipxe": SITE.target("pc1"),
        f"{mac(2).replace(':', '-')}.ipxe": SITE.target("pc2"),
        f"{mac(1).replace(':', '-')}.ipxe": SITE.target("pc2"),
    }
    assert plan(resolve([*moved, session(2)], SITE, NOW), world.observed, SITE).due == ()


def test_a_session_that_is_given_another_machine_stops_on_the_old_one() -> None:
    for persistence, left in (("ephemeral", {"pc2"}), ("keep", {"pc1", "pc2"})):
        world = converge([network(), image(), machine(1), session(1, persistence=persistence), machine(2)], host())
        changed = session(1, machine="pc2", persistence=persistence)
        moved: list[Object] = [network(), image(), machine(1), changed, machine(2)]
        world = once(moved, world)
        assert {name.partition(".")[0] for name in world.observed.pool.overlays} == left
        assert plan(resolve(moved, SITE, NOW), world.observed, SITE).steps == ()


def test_what_was_let_go_in_place_stays_even_after_its_machine_is_forgotten() -> None:
    world = converge(room(1, 10), host())
    left = resolve(room(10), SITE, NOW, orphans=frozenset({"pc1"}))
    kept = apply(plan(left, world.observed, SITE), world).observed
    assert (kept.targets, kept.pool.overlays) == (world.observed.targets, world.observed.pool.overlays)
    assert "ggnet-pc1-0" not in kept.dhcp.hosts


def test_a_server_that_moves_to_another_address_takes_its_scripts_away_before_its_portals() -> None:
    world = converge(room(1), host())
    moved: list[Object] = [network(serverAddress="10.77.0.2"), *room(1)[1:]]
    world = once(moved, world)
    assert [portal for _, _, _, portal in adverts(world)] == ["10.77.0.2:3260"]


def test_a_disk_that_is_broken_and_cannot_be_mended_is_advertised_no_more() -> None:
    world = converge(room(1), host())
    lost: list[Object] = [*room(1)[:3], session(1, image="absent")]
    assert adverts(once(lost, world)) == adverts(world)
    assert adverts(once(lost, world.with_(targets={}))) == []


def test_a_target_stays_while_it_cannot_be_told_whether_a_script_leads_to_it() -> None:
    world = converge(room(1), host())
    hidden = world.with_(unreadable={"tftp": "Input/output error"}, boot={})
    stopped: list[Object] = [*room(1)[:3], session(1, state="stopped")]
    decided = plan(resolve(stopped, SITE, NOW), hidden.observed, SITE)
    assert [type(step.action).__name__ for step in decided.steps] == ["WithdrawTarget", "DeleteOverlay"]
    assert all("could not be read" in (step.held or "") for step in decided.steps)
