"""The small pieces: back-off, the guard, the wire, the sentence."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.backoff import delay
from controller.core.choice import Missing, choose
from controller.core.index import Index
from controller.core.phases import SESSION, Progress
from controller.core.plan import plan
from controller.core.prune import guard
from controller.core.resolve import resolve
from controller.core.wire import plan_wire
from controller.core.world import ImageFile, OverlayFile, Stamp
from manifests.kinds import Object
from tests.controller.core.objects import GIB, NOW, SITE, host, image, machine, network, room, session
from tests.controller.core.simulate import World, apply
from tests.controller.core.walks import imported


@given(st.integers(0, 10_000), st.text(max_size=20))
def test_a_delay_is_between_most_of_a_second_and_a_quarter_of_an_hour(attempts: int, key: str) -> None:
    assert 0.8 <= delay(attempts, key) <= 900
    assert delay(attempts, key) == delay(attempts, key)


def test_delays_grow_and_are_spread() -> None:
    grown = [delay(attempts, "Machine/pc1") for attempts in range(1, 11)]
    assert grown == sorted(grown)
    assert delay(30, "Machine/pc1") > 700
    assert len({delay(3, f"Machine/pc{n}") for n in range(50)}) > 40


@pytest.mark.parametrize(
    ("existing", "deletions", "credible"), [(3, 3, True), (10, 5, True), (10, 6, False), (100, 10, True), (100, 11, False)]
)
def test_more_than_five_and_more_than_a_tenth_at_once_is_not_credible(existing: int, deletions: int, credible: bool) -> None:
    assert guard(existing, deletions) is credible


def test_the_table_of_phases_has_no_hole() -> None:
    assert {progress for _, progress in SESSION} == set(Progress)
    assert len(SESSION) == 2 * len(Progress)


def test_a_plan_is_plain_values_on_the_wire() -> None:
    world = imported(host())
    decided = plan(resolve(room(1), SITE, NOW), world.observed, SITE)
    wire = plan_wire(decided)
    assert json.loads(json.dumps(wire)) == wire
    assert (wire["due"], wire["held"]) == (len(decided.steps), 0)
    first = wire["steps"][0]
    assert (first["action"], first["domain"], first["effect"]) == ("CreateOverlay", "pool", "none")
    assert first["owners"] == ["Machine/pc1", "Session/pc1"]


def test_a_plan_says_of_a_session_that_gets_no_disk_now_why() -> None:
    decided = plan(resolve(room(1), SITE, NOW), host().observed, SITE)
    (told,) = plan_wire(decided)["waits"]
    assert told["object"] == "Session/pc1"
    assert "win11 is not imported yet" in told["message"]
    assert plan_wire(plan(resolve(room(1), SITE, NOW), imported(host()).observed, SITE))["waits"] == []


def chosen(world: World, **spec: Any) -> object:
    client = resolve([network(), image(), machine(1), session(1, **spec)], SITE, NOW).clients["pc1"]
    assert client.boot is not None
    return choose(client, client.boot, Index.of(world.observed), SITE)


def newer(world: World) -> World:
    pool = world.observed.pool
    versions = {**pool.images["win11"], 2: ImageFile(2, 4 * GIB, "2" * 64, Stamp(4 * GIB, 1))}
    return world.with_(pool=type(pool)(images={"win11": versions}, overlays=pool.overlays, sources=pool.sources))


@pytest.mark.parametrize("persistence", ["ephemeral", "keep", "readonly"])
def test_a_session_keeps_the_version_that_it_started_with(persistence: str) -> None:
    objects: list[Object] = [network(), image(), machine(1), session(1, persistence=persistence)]
    world = imported(host())
    world = newer(apply(plan(resolve(objects, SITE, NOW), world.observed, SITE), world))
    assert getattr(chosen(world, persistence=persistence), "version", None) == 1
    assert getattr(chosen(world, persistence=persistence, image="win11@v2"), "version", None) == 2
    assert getattr(chosen(newer(imported(host())), persistence=persistence), "version", None) == 2


@pytest.mark.parametrize(
    ("spec", "reason"), [({"image": "debian"}, "ImageNotReady"), ({"image": "win11@v7"}, "NoSuchVersion")]
)
def test_a_disk_that_cannot_be_had_is_told_with_its_reason(spec: dict[str, str], reason: str) -> None:
    found = chosen(imported(host()), **spec)
    assert isinstance(found, Missing)
    assert found.reason == reason


def test_a_half_made_overlay_is_no_disk() -> None:
    objects = room(1)
    world = imported(host())
    world = apply(plan(resolve(objects, SITE, NOW), world.observed, SITE), world)
    pool = world.observed.pool
    odd = {name: OverlayFile(1000, "copy") for name in pool.overlays}
    found = chosen(world.with_(pool=type(pool)(images=pool.images, overlays=odd, sources=pool.sources)))
    assert isinstance(found, Missing)
    assert found.reason == "BadSize"
