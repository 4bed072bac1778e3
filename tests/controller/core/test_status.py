"""What each object is told of itself, through its life and its troubles."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.observed import Login, SourceFile
from controller.core.plan import plan
from controller.core.resolve import resolve
from controller.core.status import forgettable, statuses
from controller.core.steps import LoadDhcp, Outcome, PublishTarget, Step
from controller.core.why import why
from manifests.kinds import Object
from manifests.meta import Status
from tests.controller.core import walks
from tests.controller.core.objects import NOW, SITE, host, image, machine, network, room, session
from tests.controller.core.simulate import World, apply, run
from tests.controller.core.walks import Wish, imported, logged_in, logins, wishes

START = imported(host(["win11", "debian"]))
LATER = NOW + timedelta(minutes=5)


def tell(objects: list[Object], world: World, at: datetime = NOW, outcomes: Mapping[str, Outcome] | None = None) -> Any:
    wanted = resolve(objects, SITE, at)
    left = plan(wanted, world.observed, SITE)
    return statuses(objects, wanted, world.observed, left, outcomes or {}, at, SITE)


def told(objects: list[Object], world: World, at: datetime = NOW) -> list[Object]:
    """The objects with the status that they would have been given."""
    found = tell(objects, world, at)
    return [one.model_copy(update={"status": found[one.key]}) if one.key in found else one for one in objects]


def reached(objects: list[Object], world: World = START) -> World:
    for _ in range(2):
        world = apply(plan(resolve(objects, SITE, NOW), world.observed, SITE), world)
    return world


def ready(status: Status) -> tuple[str, str, str]:
    found = status.condition("Ready")
    assert found is not None
    return status.phase, found.status, found.reason


def test_a_session_lives_from_pending_to_active_and_back() -> None:
    objects, nothing = room(1), host()
    assert ready(tell(objects, nothing)["Session/pc1"]) == ("Pending", "False", "ImageNotReady")
    assert ready(tell(objects, START)["Session/pc1"]) == ("Preparing", "False", "Progressing")
    world = reached(objects)
    assert ready(tell(objects, world)["Session/pc1"]) == ("Ready", "True", "Published")
    live = logged_in(world, {1: Login.ACTIVE})
    assert ready(tell(objects, live)["Session/pc1"]) == ("Active", "True", "Active")
    assert ready(tell(objects, live)["Machine/pc1"]) == ("Active", "True", "Active")
    stopped: list[Object] = [*objects[:3], session(1, state="stopped")]
    assert ready(tell(stopped, live)["Session/pc1"]) == ("Stopping", "False", "Progressing")
    withdrawn = apply(plan(resolve(stopped, SITE, NOW), live.observed, SITE), live)
    assert ready(tell(stopped, withdrawn)["Session/pc1"]) == ("Stopping", "False", "Waiting")
    gone = reached(stopped, logged_in(withdrawn, {1: Login.NONE}))
    assert ready(tell(stopped, gone)["Session/pc1"]) == ("Stopped", "True", "Stopped")
    assert ready(tell(stopped, gone)["Machine/pc1"]) == ("Local", "True", "Local")


def test_the_facts_of_a_session_are_those_of_the_world() -> None:
    objects = room(1)
    found = tell(objects, logged_in(reached(objects), {1: Login.ACTIVE}))
    status = found["Session/pc1"]
    assert (status.target, status.lun, status.initiator) == (SITE.target("pc1"), 0, SITE.initiator("pc1"))
    assert (status.image_version, status.overlay_method, status.connection) == (1, "copy", "active")
    assert status.overlay.startswith("pc1.os+win11@v1+")
    assert status.started_at == NOW
    assert found["Machine/pc1"].address == "10.77.0.99"
    assert found["Image/win11"].version == 1
    assert found["Network/main"].machines == 1


def test_a_status_that_says_the_same_is_the_very_same() -> None:
    objects = told(room(1, 2), reached(room(1, 2)))
    again = tell(objects, reached(room(1, 2)), LATER)
    for one in objects:
        assert again[one.key] is one.status


def test_a_change_that_waits_for_a_running_pc_says_so_and_how_to_have_it() -> None:
    world = logged_in(reached(room(1)), {1: Login.ACTIVE})
    changed: list[Object] = [network(), image(), image("debian"), machine(1), session(1, image="debian")]
    world = reached(changed, world)
    status = tell(changed, world)["Session/pc1"]
    assert ready(status) == ("Active", "False", "Waiting")
    held = status.condition("Held")
    assert (held.status, "ggnet/disruption=allowed" in held.message) == ("True", True)


def test_time_that_has_run_out_stops_a_session_and_does_not_begin_anew() -> None:
    objects: list[Object] = [network(), image(), machine(1), session(1, ttl="1m")]
    objects = told(objects, reached(objects))
    assert ready(tell(objects, reached(objects), LATER)["Session/pc1"])[0] == "Stopping"
    over = apply(plan(resolve(objects, SITE, LATER), reached(objects).observed, SITE), reached(objects))
    status = tell(objects, over, LATER)["Session/pc1"]
    assert ready(status) == ("Stopped", "True", "Expired")
    assert status.started_at == NOW
    stopped = objects[3].model_copy(update={"status": status, "spec": session(1, state="stopped").spec})
    assert tell([*objects[:3], stopped], over, LATER)["Session/pc1"].started_at is None


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ([session(1)], "MachineMissing"),
        ([machine(1, enabled=False), session(1)], "MachineDisabled"),
        ([machine(1), session(1, image="absent")], "ImageNotReady"),
        ([machine(1, address=None, network="nowhere"), session(1)], "NoNetwork"),
    ],
)
def test_a_session_that_lacks_something_is_pending_and_says_what(objects: list[Object], reason: str) -> None:
    everything: list[Object] = [network(), image(), *objects]
    status = tell(everything, reached(everything))["Session/pc1"]
    assert ready(status) == ("Pending", "False", reason)
    assert why("Session/pc1", {one.key: one for one in told(everything, reached(everything))}).endswith(".")


def test_what_a_stopped_session_has_kept_is_that_of_the_image_that_it_names() -> None:
    def kept(name: str, **spec: Any) -> list[Object]:
        return [network(), image(), image("debian"), machine(1), session(1, image=name, persistence="keep", **spec)]

    before = reached(kept("debian"))
    stopped = kept("win11", state="stopped")
    other = tell(stopped, reached(stopped, before))["Session/pc1"]
    assert ("+debian@v1+" in other.overlay, other.image_version) == (True, None), "a version is one of its image"
    both = reached(stopped, reached(kept("win11"), before))
    status = tell(stopped, both)["Session/pc1"]
    assert ("+win11@v1+" in status.overlay, status.image_version) == (True, 1)


def test_what_belongs_to_another_server_is_not_told() -> None:
    assert tell([machine(1, server="two"), session(1)], START) == {}


def test_a_target_that_cannot_be_read_is_unknown_not_off() -> None:
    world = reached(room(1))
    hidden = world.with_(unreadable={SITE.target("pc1"): "Input/output error"}, targets={})
    found = tell(room(1), hidden)
    assert ready(found["Session/pc1"]) == ("Unknown", "Unknown", "Unreadable")
    assert ready(found["Machine/pc1"]) == ("Unknown", "Unknown", "Unreadable")
    unsure = logged_in(world, {1: Login.UNKNOWN})
    assert ready(tell(room(1), unsure)["Session/pc1"])[:2] == ("Unknown", "Unknown")


def test_a_poison_host_is_named_and_all_others_are_ready() -> None:
    objects = room(1, 2, 10)
    world = reached(objects, replace(START, refuses=frozenset({"ggnet-pc10-0"})))
    found = tell(objects, world)
    assert ready(found["Machine/pc10"])[1:] == ("False", "HostRefused")
    assert "semicolon expected" in found["Machine/pc10"].condition("Ready").message
    assert {key for key, status in found.items() if ready(status)[1] != "True"} == {"Machine/pc10"}


def test_one_broken_machine_leaves_all_others_ready() -> None:
    objects = room(1, 2, 10)

    def breaks(step: Step) -> bool:
        return isinstance(step.action, PublishTarget) and "Machine/pc10" in step.owners

    world, outcomes = run(plan(resolve(objects, SITE, NOW), START.observed, SITE), START, breaks)
    found = tell(objects, world, outcomes=outcomes)
    assert {key for key, status in found.items() if ready(status)[1] != "True"} == {"Machine/pc10", "Session/pc10"}
    assert ready(found["Session/pc10"]) == ("Failed", "False", "Broken")


def test_a_dhcp_server_that_will_not_load_keeps_new_machines_from_ready_and_no_old_ones() -> None:
    old = told(room(1), reached(room(1)))
    objects = [*old, *room(2)[2:]]

    def breaks(step: Step) -> bool:
        return isinstance(step.action, LoadDhcp)

    world, outcomes = run(plan(resolve(objects, SITE, NOW), reached(room(1)).observed, SITE), reached(room(1)), breaks)
    found = tell(objects, world, outcomes=outcomes)
    assert ready(found["Machine/pc1"])[1] == "True"
    assert ready(found["Machine/pc2"])[1:] == ("False", "Broken")
    assert ready(found["Network/main"])[1] == "False"
    dead = world.with_(dhcp=replace(world.observed.dhcp, problem="dhcpd is not installed"))
    found = tell(objects, dead)
    assert ready(found["Network/main"]) == ("Failed", "False", "DhcpProblem")
    assert ready(found["Machine/pc2"])[1:] == ("False", "DhcpProblem")
    assert ready(found["Machine/pc1"])[1] == "True"


@pytest.mark.parametrize(
    ("source", "phase", "reason"),
    [
        (None, "Pending", "SourceUnusable"),
        (SourceFile(None, "is a qcow2 file that calls itself raw"), "Failed", "SourceUnusable"),
    ],
)
def test_an_image_without_a_usable_source_says_why(source: SourceFile | None, phase: str, reason: str) -> None:
    world = host()
    pool = replace(world.observed.pool, sources={"win11": source} if source else {})
    assert ready(tell([image()], world.with_(pool=pool))["Image/win11"]) == (phase, "False", reason)


def test_drift_that_is_held_is_shown_as_drift() -> None:
    objects = told(room(1), reached(room(1)))
    suspended = objects[2].metadata.model_copy(update={"annotations": {"ggnet/paused": "true"}})
    objects[2] = objects[2].model_copy(update={"metadata": suspended})
    world = reached(room(1))
    iqn = SITE.target("pc1")
    state = world.observed.targets[iqn]
    world = world.with_(targets={iqn: replace(state, facts={**state.facts, "tpg/enable": "0"})})
    status = tell(objects, world)["Session/pc1"]
    assert (status.condition("Drifted").status, status.condition("Held").reason) == ("True", "Suspended")
    mended = tell([objects[3].model_copy(update={"status": status}), *objects[:3]], reached(room(1)), LATER)["Session/pc1"]
    assert (mended.condition("Drifted").status, mended.condition("Drifted").last_transition_time) == ("False", LATER)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(wishes(), logins), min_size=2, max_size=4))
def test_generations_never_go_back_and_times_move_only_with_the_status(
    story: list[tuple[tuple[Wish, ...], dict[int, Login]]],
) -> None:
    world, before, at = START, dict[str, Status](), NOW
    for number, (asked, who) in enumerate(story):
        at += timedelta(minutes=1)
        objects = [_grown(one, 1 + (number * 7) % 3, before.get(one.key)) for one in walks.objects(asked)]
        world = logged_in(reached(objects, world), who)
        for key, status in tell(objects, world, at).items():
            old = before.get(key)
            if old is not None:
                assert status.observed_generation >= old.observed_generation
            for condition in status.conditions:
                was = old.condition(condition.type) if old else None
                same = was is not None and was.status == condition.status
                assert condition.last_transition_time == (was.last_transition_time if was and same else at)
            before[key] = status


def _grown(one: Object, generation: int, status: Status | None) -> Object:
    metadata = one.metadata.model_copy(update={"generation": generation})
    return one.model_copy(update={"metadata": metadata, "status": status})


def test_a_deleted_object_is_forgotten_only_when_nothing_of_it_is_left_or_out_of_sight() -> None:
    gone = session(1, meta={"deletedAt": NOW})
    objects: list[Object] = [network(), image(), machine(1), gone]
    world = reached(room(1))
    wanted = resolve(objects, SITE, NOW)
    first = plan(wanted, world.observed, SITE)
    assert not forgettable(gone, first, world.observed, SITE)
    world = apply(first, world)
    left = plan(wanted, world.observed, SITE)
    assert forgettable(gone, left, world.observed, SITE)
    assert not forgettable(gone, left, replace(world.observed, unreadable={"lio": "EIO"}), SITE)
    assert not forgettable(session(1), left, world.observed, SITE)


def test_why_names_the_first_thing_in_the_way() -> None:
    def asked(*objects: Object, key: str = "Session/pc1") -> str:
        return why(key, {one.key: one for one in objects})

    fresh = room(1)
    good = told(fresh, reached(fresh))
    assert asked(key="Session/pc9") == "There is no Session/pc9."
    assert asked(session(1)) == "Session/pc1 names Machine/pc1, which does not exist: create it, or change spec.machine."
    assert asked(machine(1, enabled=False), session(1)) == "Machine/pc1 is switched off: set its spec.enabled to true."
    assert asked(machine(1), session(1)).startswith("Session/pc1 names Image/win11, which does not exist")
    assert asked(*fresh) == "The controller has not looked at generation 1 of Image/win11 yet: ggnet doctor."
    assert asked(*good) == "Nothing is in the way of Session/pc1: waiting for its PC to boot."
    empty = told(fresh, host([]))
    assert asked(*empty).startswith("Image/win11 is Pending: source win11.raw")
    assert asked(*empty, key="Machine/pc1").startswith("Image/win11 is Pending")
