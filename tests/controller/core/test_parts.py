"""The small pieces: back-off, the guard, the wire, the sentence."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.backoff import delay
from controller.core.choice import Missing, choose
from controller.core.index import Index
from controller.core.observed import ImageFile, Observed, OverlayFile, SourceFile, Stamp
from controller.core.phases import SESSION, Phase, Progress
from controller.core.plan import plan
from controller.core.prune import guard
from controller.core.resolve import resolve
from controller.core.snapshot import dumps, loads
from controller.core.status import statuses
from controller.core.steps import DiscardSource, ImportImage, Underway
from controller.core.wire import plan_wire, text
from manifests.image import Image, ImageStatus
from manifests.kinds import Object
from tests.controller.core.objects import GIB, NOW, SITE, host, image, machine, network, room, session, stored
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
    assert len(SESSION) == 3 * len(Progress)


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


def chosen(world: World, channels: dict[str, str] | None = None, **spec: Any) -> object:
    win11 = image(channels=channels) if channels else image()
    desired = resolve([network(), win11, machine(1), session(1, **spec)], SITE, NOW)
    client = desired.clients["pc1"]
    assert client.boot is not None
    return choose(client, client.boot, desired.images, Index.of(world.observed), SITE)


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


@pytest.mark.parametrize("persistence", ["ephemeral", "keep", "readonly"])
@pytest.mark.parametrize(
    ("name", "version"), [("win11", 1), ("win11@stable", 1), ("win11@beta", 2), ("win11@latest", 2), ("win11@v1", 1)]
)
def test_a_session_starts_with_the_version_that_its_channel_points_at(name: str, version: int, persistence: str) -> None:
    channels = {"stable": "v1", "beta": "v2"}
    found = chosen(newer(imported(host())), channels, image=name, persistence=persistence)
    assert getattr(found, "version", None) == version


@pytest.mark.parametrize("persistence", ["ephemeral", "keep", "readonly"])
def test_a_channel_that_moves_moves_no_session_that_runs(persistence: str) -> None:
    stable = image(channels={"stable": "v1"})
    objects: list[Object] = [network(), stable, machine(1), session(1, image="win11@stable", persistence=persistence)]
    world = newer(imported(host()))
    world = apply(plan(resolve(objects, SITE, NOW), world.observed, SITE), world)
    moved = chosen(world, {"stable": "v2"}, image="win11@stable", persistence=persistence)
    assert getattr(moved, "version", None) == 1


def test_a_channel_to_nowhere_is_told_with_what_there_is() -> None:
    missing = chosen(newer(imported(host())), {"stable": "v9"}, image="win11@stable")
    assert isinstance(missing, Missing)
    assert (missing.reason, "it has v1, v2" in missing.message) == ("NoSuchVersion", True)
    assert missing.message.endswith(": ggnet image promote win11@v2")
    other = chosen(newer(imported(host())), {"stable": "v1", "beta": "v9"}, image="win11@beta")
    assert isinstance(other, Missing)
    assert other.message.endswith(": ggnet image promote win11@v2 --channel beta")
    unknown = chosen(newer(imported(host())), {"stable": "v1"}, image="win11@beta")
    assert isinstance(unknown, Missing)
    assert (unknown.reason, "it has stable, latest" in unknown.message) == ("NoSuchChannel", True)


@pytest.mark.parametrize(
    ("spec", "reason"), [({"image": "debian"}, "ImageNotReady"), ({"image": "win11@v7"}, "NoSuchVersion")]
)
def test_a_disk_that_cannot_be_had_is_told_with_its_reason(spec: dict[str, str], reason: str) -> None:
    found = chosen(imported(host()), None, **spec)
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


DIGEST, UPLOAD = "a" * 64, "0" * 32


def brought(*identities: str, made: str = "", unreadable: frozenset[str] = frozenset(), whole: bool = True) -> Observed:
    """A pool with these sources, and a version of one of them."""
    seen = host().observed
    there = {"win11": {1: ImageFile(1, 512, "b" * 64, Stamp(1, 1), made)}} if made else {}
    pool = replace(seen.pool, images=there, brought=frozenset(identities))
    complete = seen.complete if whole else seen.complete - {"pool"}
    return replace(seen, pool=pool, unreadable=dict.fromkeys(unreadable, "Input/output error"), complete=complete)


def removed(seen: Observed, *images: Image) -> list[str]:
    steps = plan(resolve([*images], SITE, NOW), seen, SITE).due
    assert all(step.owners == frozenset() for step in steps if isinstance(step.action, DiscardSource))
    return [step.action.identity for step in steps if isinstance(step.action, DiscardSource)]


def fetched(name: str = "win11", **meta: Any) -> Image:
    made = stored("Image", name, {"source": {"url": "https://x/y?secret", "sha256": DIGEST}}, **meta)
    assert isinstance(made, Image)
    return made


def sent(name: str = "win11") -> Image:
    made = stored("Image", name, {"source": {"upload": UPLOAD}})
    assert isinstance(made, Image)
    return made


def test_a_download_is_removed_once_no_image_waits_for_it() -> None:
    key = f"sha256 {DIGEST}"
    suspended = fetched("other", annotations={"ggnet/paused": "true"})
    assert removed(brought(key)) == [key]
    assert removed(brought(key), fetched()) == []
    assert removed(brought(key, made=key), fetched()) == [key]
    assert removed(brought(key, made=key), fetched(), suspended) == []
    assert removed(brought(key, made=key, unreadable=frozenset({"pool"})), fetched()) == []
    assert removed(brought(key, whole=False)) == []


def test_an_upload_is_removed_only_once_a_version_is_there_for_each_image_that_names_it() -> None:
    key = f"upload {UPLOAD}"
    assert removed(brought(key)) == []
    assert removed(brought(key), sent()) == []
    assert removed(brought(key, made=key), sent()) == [key]
    assert removed(brought(key, made=key)) == [key]
    assert removed(brought(key, made=key), sent(), sent("other")) == []


def test_a_source_to_be_fetched_is_imported_once_whatever_url_it_comes_from() -> None:
    (action,) = imports(brought())
    assert (action.origin, action.sha256, action.label) == ("url", DIGEST, "https://x/y")
    assert imports(brought(made=f"sha256 {DIGEST}")) == []


def imports(seen: Observed) -> list[ImportImage]:
    steps = plan(resolve([fetched()], SITE, NOW), with_source(seen), SITE).due
    return [step.action for step in steps if isinstance(step.action, ImportImage)]


def with_source(seen: Observed) -> Observed:
    return replace(seen, pool=replace(seen.pool, sources={"win11": SourceFile(None)}))


def test_what_follows_a_question_mark_in_a_url_is_in_no_plan_and_no_status() -> None:
    seen = with_source(brought())
    decided = plan(resolve([fetched()], SITE, NOW), seen, SITE)
    told = statuses([fetched()], resolve([fetched()], SITE, NOW), seen, decided, {}, NOW, SITE)
    assert "secret" not in json.dumps(plan_wire(decided)) + str(told) + text(decided)


@pytest.mark.parametrize("phase", ["Downloading", "Importing"])
def test_an_image_is_in_the_phase_of_what_goes_on(phase: Phase) -> None:
    seen, outcome = with_source(brought()), Underway("how far it is", phase)
    decided = plan(resolve([fetched()], SITE, NOW), seen, SITE)
    told = statuses([fetched()], resolve([fetched()], SITE, NOW), seen, decided, {"Image/win11": outcome}, NOW, SITE)
    assert told["Image/win11"].phase == phase
    assert loads(dumps(brought("upload 1"))).pool.brought == {"upload 1"}


def test_what_a_source_was_found_to_be_is_told_with_its_version_and_remembered() -> None:
    key = f"sha256 {DIGEST}"
    found = ImageFile(1, 512, "b" * 64, Stamp(1, 1), key, format="raw", remark="it begins with zeros", layers=("limits",))
    seen = with_source(brought())
    seen = replace(seen, pool=replace(seen.pool, images={"win11": {1: found}}))
    wanted = resolve([fetched()], SITE, NOW)
    told = statuses([fetched()], wanted, seen, plan(wanted, seen, SITE), {}, NOW, SITE)["Image/win11"]
    assert isinstance(told, ImageStatus)
    (version,) = told.versions
    assert (version.format, version.remark, version.layers) == ("raw", "it begins with zeros", ("limits",))
    ready = told.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.message) == ("True", "v1 is the newest; it begins with zeros")
    assert loads(dumps(seen)).pool == seen.pool
