"""How full a disk and the pool are: told in time, in words that say what to do, and in no more steps than are of use."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core import names, pressure, space
from controller.core.names import OverlayName
from controller.core.observed import Login, Observed, OverlayState
from controller.core.plan import plan, same
from controller.core.resolve import resolve
from controller.core.status import statuses
from controller.core.steps import ActivateOverlay, CreateOverlay, DeleteBootFile, PublishTarget
from controller.shell.tell import events, pool_events
from manifests.kinds import Object
from tests.controller.core.objects import NOW, SITE, host, image, machine, network, session
from tests.controller.core.simulate import World, apply
from tests.controller.core.walks import imported, logged_in

GIB = 1 << 30
START = imported(host())
SNAPSHOTS = START.with_(pool=replace(START.observed.pool, driver="snapshot"))


def asked(**spec: Any) -> list[Object]:
    return [network(), image(), machine(1), session(1, **spec)]


def reached(objects: list[Object], world: World) -> World:
    return apply(plan(resolve(objects, SITE, NOW), world.observed, SITE), world)


def told(objects: list[Object], world: World) -> Any:
    wanted = resolve(objects, SITE, NOW)
    left = plan(wanted, world.observed, SITE)
    return statuses(objects, wanted, world.observed, left, {}, NOW, SITE)["Session/pc1"]


def with_overlay(world: World, **changes: Any) -> World:
    pool = world.observed.pool
    overlays = {name: replace(file, **changes) for name, file in pool.overlays.items()}
    return world.with_(pool=replace(pool, overlays=overlays))


def said(status: Any, kind: str = pressure.DISK) -> tuple[str, str]:
    found = status.condition(kind)
    return (found.status, found.reason) if found else ("", "")


@given(st.integers(1, 1 << 40))
def test_a_store_holds_what_it_was_made_for_and_less_than_a_chunk_more(limit: int) -> None:
    held = space.store_limit(space.store_size(limit))
    assert limit <= held < limit + space.CHUNK
    assert space.store_size(limit) % space.CHUNK == 0


@given(st.integers(0, 1 << 40), st.integers(1 << 16, 1 << 40))
def test_what_is_told_of_use_is_never_more_than_it_and_at_most_a_hundredth_less(used: int, most: int) -> None:
    assert used - max(1, most // 100) < space.whole(used, most) <= used
    assert len({space.whole(min(most, most * step // 1000), most) for step in range(1001)}) <= 102


def test_a_new_disk_is_made_by_the_driver_that_was_found_and_exported_as_that_needs() -> None:
    world = reached(asked(overlayLimit="2GiB", persistence="keep"), SNAPSHOTS)
    [(text, file)] = world.observed.pool.overlays.items()
    name = OverlayName.parse(text)
    assert name is not None
    assert (name.form, file.method, file.limit, file.durable) == ("cow", "snapshot", 2 * GIB, True)
    facts = world.observed.targets[SITE.target("pc1")].facts
    assert facts["backstore/path"] == f"/dev/mapper/{name.device}"
    assert "backstore/size" not in facts
    assert plan(resolve(asked(overlayLimit="2GiB", persistence="keep"), SITE, NOW), world.observed, SITE).due == ()


def test_a_limit_is_never_more_than_the_disk_has_bytes() -> None:
    for spec in ({}, {"overlayLimit": "1024TiB"}):
        steps = plan(resolve(asked(**spec), SITE, NOW), SNAPSHOTS.observed, SITE).due
        assert [step.action.limit for step in steps if isinstance(step.action, CreateOverlay)] == [4 * GIB]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"overlayLimit": "3GiB"}, (3 * GIB, False)),
        ({"overlayLimit": "1GiB"}, None),
        ({"overlayLimit": "2GiB", "persistence": "keep"}, (2 * GIB, True)),
    ],
)
def test_a_limit_grows_and_writing_through_changes_under_a_running_pc_without_touching_its_target(
    spec: Mapping[str, Any], expected: tuple[int, bool] | None
) -> None:
    world = logged_in(reached(asked(overlayLimit="2GiB"), SNAPSHOTS), {1: Login.ACTIVE})
    steps = plan(resolve(asked(**spec), SITE, NOW), world.observed, SITE).steps
    found = [step.action for step in steps]
    assert not any(isinstance(action, PublishTarget) for action in found)
    activations = [(action.limit, action.durable) for action in found if isinstance(action, ActivateOverlay)]
    assert activations == ([expected] if expected else [])
    assert all(step.held is None for step in steps)


def test_a_setting_that_changes_touches_no_disk_that_is_there() -> None:
    world = reached(asked(), START)
    switched = world.with_(pool=replace(world.observed.pool, driver="snapshot"))
    assert plan(resolve(asked(), SITE, NOW), switched.observed, SITE).due == ()


def test_a_session_tells_its_use_its_limit_and_when_that_is_near() -> None:
    objects = asked(overlayLimit="2GiB")
    world = reached(objects, SNAPSHOTS)
    status = told(objects, world)
    assert (status.overlay_method, status.overlay_used, status.overlay_limit) == ("snapshot", 0, 2 * GIB)
    assert said(status) == ("", "")
    assert said(told(objects, with_overlay(world, used=2 * GIB * 79 // 100))) == ("", "")
    near = told(objects, with_overlay(world, used=2 * GIB * 80 // 100 + 1))
    assert said(near) == ("True", "NearlyFull")
    assert "1638 of 2048 MiB" in near.condition(pressure.DISK).message


def test_a_disk_whose_store_holds_all_of_it_is_never_nearly_full() -> None:
    for spec in ({}, {"overlayLimit": "4GiB"}):
        world = with_overlay(reached(asked(**spec), SNAPSHOTS), used=4 * GIB * 99 // 100)
        assert said(told(asked(**spec), world)) == ("", "")
        assert said(told(asked(**spec), with_overlay(world, state=OverlayState.FULL))) == ("True", "Broken")


@pytest.mark.parametrize(("persistence", "fresh"), [("ephemeral", True), ("keep", False)])
def test_nobody_is_told_to_start_anew_what_gets_the_same_disk_again(persistence: str, fresh: bool) -> None:
    objects = asked(overlayLimit="2GiB", persistence=persistence)
    for changes in ({"used": 2 * GIB}, {"used": 2 * GIB, "state": OverlayState.FULL}):
        status = told(objects, with_overlay(reached(objects, SNAPSHOTS), **changes))
        message = status.condition(pressure.DISK).message
        assert ("raise spec.overlayLimit" in message, "fresh disk" in message) == (True, fresh)


def test_a_full_disk_under_a_running_pc_waits_with_words_and_is_mended_by_itself_when_the_pc_is_off() -> None:
    objects = asked(overlayLimit="2GiB")
    full = with_overlay(reached(objects, SNAPSHOTS), used=2 * GIB, state=OverlayState.FULL)
    live = logged_in(full, {1: Login.ACTIVE})
    assert plan(resolve(objects, SITE, NOW), live.observed, SITE).due == ()
    assert said(told(objects, live)) == ("True", "Full")
    assert said(told(objects, with_overlay(live, used=0))) == ("True", "Broken")
    mended = reached(objects, full)
    assert {file.state for file in mended.observed.pool.overlays.values()} == {OverlayState.READY}
    assert SITE.target("pc1") in mended.observed.targets


def test_a_limit_on_a_whole_file_is_said_not_to_be_enforced_until_it_goes() -> None:
    world = reached(asked(overlayLimit="2GiB"), START)
    first = told(asked(overlayLimit="2GiB"), world)
    assert said(first, "LimitEnforced") == ("False", "NotEnforced")
    assert first.overlay_limit is None
    [*rest, one] = asked()
    again = told([*rest, one.model_copy(update={"status": first})], world)
    assert said(again, "LimitEnforced") == ("True", "No")
    assert said(told(asked(), world), "LimitEnforced") == ("", "")


def test_a_disk_without_its_image_says_which_file_to_put_back() -> None:
    objects = asked()
    world = with_overlay(reached(objects, SNAPSHOTS), state=OverlayState.STRANDED)
    world = world.with_(targets={})
    status = told(objects, world)
    ready = status.condition("Ready")
    assert (ready.reason, "win11@v1.raw" in ready.message) == ("ImageLost", True)
    due = plan(resolve(objects, SITE, NOW), world.observed, SITE).due
    assert [type(step.action) for step in due] == [DeleteBootFile]  # its PC falls to its local disk meanwhile


def test_a_disk_that_fills_up_is_an_event_once_and_another_when_it_is_full() -> None:
    objects = asked(overlayLimit="2GiB")
    world = reached(objects, SNAPSHOTS)
    near = told(objects, with_overlay(world, used=2 * GIB - 1))
    full = told(objects, with_overlay(logged_in(world, {1: Login.ACTIVE}), used=2 * GIB, state=OverlayState.FULL))
    before = {one.key: one for one in objects}
    known = before | {"Session/pc1": before["Session/pc1"].model_copy(update={"status": near})}

    def reasons(objects: Mapping[str, Object], status: Any) -> list[str]:
        return [event.reason for event in events([], objects, {"Session/pc1": status}, NOW) if "Disk" in event.reason]

    assert reasons(before, near) == ["DiskNearlyFull"]
    assert reasons(known, near) == []
    assert reasons(known, full) == ["DiskFull"]


def filled(percent: int) -> Observed:
    pool = replace(START.observed.pool, free=(100 - percent) * GIB, total=100 * GIB)
    return replace(START.observed, pool=pool)


def test_a_pool_that_fills_up_is_an_event_when_it_begins_and_no_sweep_passes_over_it() -> None:
    assert [event.reason for event in pool_events(filled(79), filled(80), NOW)] == ["PoolNearlyFull"]
    assert pool_events(filled(80), filled(82), NOW) == []
    assert pool_events(filled(82), filled(70), NOW) == []
    assert [event.key for event in pool_events(None, filled(90), NOW)] == ["Server/this"]
    assert same(filled(60), filled(70))
    assert not same(filled(79), filled(80))


def test_names_of_devices_are_whose_they_are_and_fit_into_the_kernel() -> None:
    longest = OverlayName("m" * 63, names.SYSTEM_DISK, "i" * 63, 999_999_999, "0" * 36, "cow")
    other = replace(longest, version=1)
    assert len(longest.device) <= 127
    assert longest.device != other.device
    assert names.is_device(longest.device)
    assert names.session_of(longest.device) == longest.uid
    assert names.session_of(str(replace(longest, form="raw"))) == longest.uid
    assert OverlayName.parse(str(longest)) == longest
    for foreign in ("ggnet-pc1", "vg0-root", longest.device + "x", "", "ggnet+pc1.os+short+12345678"):
        assert not names.is_device(foreign)
        assert names.session_of(foreign) is None
