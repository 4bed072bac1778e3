"""Who runs on which machine, from where, and what dhcpd is told of it."""

from datetime import timedelta
from typing import Any

import pytest

from controller.core.resolve import resolve, settled
from manifests.kinds import Object
from manifests.meta import Condition
from manifests.session import Session, SessionStatus
from tests.controller.core.objects import NOW, SITE, image, mac, machine, network, room, session, stored


def client(*objects: Object) -> Any:
    return resolve([network(), image(), *objects], SITE, NOW).clients.get("pc1")


def started(ago: timedelta, **spec: Any) -> Session:
    made = session(1, **spec)
    return made.model_copy(update={"status": SessionStatus(started_at=NOW - ago)})


def test_a_running_session_boots_its_machine() -> None:
    found = client(machine(1), session(1, image="win11@v3", persistence="keep"))
    (drive,) = found.boot.drives
    assert (found.boot.session, drive.name, drive.image, drive.pin, drive.persistence) == ("pc1", "os", "win11", 3, "keep")
    assert found.portal == "10.77.0.1:3260"
    assert found.initiator == SITE.initiator("pc1")


@pytest.mark.parametrize(
    "objects",
    [
        [machine(1), session(1, state="stopped")],
        [machine(1), session(1, meta={"deletedAt": NOW})],
        [machine(1, enabled=False), session(1)],
        [machine(1, meta={"deletedAt": NOW}), session(1)],
        [machine(1), started(timedelta(hours=8), ttl="8h")],
    ],
    ids=["stopped", "deleted", "disabled", "machine deleted", "expired"],
)
def test_nothing_is_booted_by_a_session_that_is(objects: list[Object]) -> None:
    found = client(*objects)
    assert found.boot is None
    assert list(found.idle.values()) == ["pc1"]


def test_time_runs_from_the_start() -> None:
    assert client(machine(1), started(timedelta(hours=8) - timedelta(seconds=1), ttl="8h")).boot is not None
    assert client(machine(1), session(1, ttl="8h")).boot is not None


def test_of_two_running_sessions_the_elder_runs() -> None:
    younger = stored("Session", "a", {"machine": "pc1", "image": "win11"})
    elder = stored("Session", "b", {"machine": "pc1", "image": "win11"}, createdAt=NOW - timedelta(days=1))
    found = client(machine(1), younger, elder)
    assert found.boot.session == "b"
    assert list(found.idle.values()) == ["a"]


def test_a_machine_of_another_server_is_not_ours() -> None:
    assert client(machine(1, server="two"), session(1)) is None
    assert client(machine(1, server="one"), session(1)) is not None


@pytest.mark.parametrize("enabled", [True, False])
def test_only_an_enabled_machine_has_a_host_for_each_card(enabled: bool) -> None:
    pc = machine(1, macs=[mac(1), mac(1, 1)], hostname="reception", enabled=enabled)
    hosts = resolve([network(), pc], SITE, NOW).dhcp
    assert hosts is not None
    told = [(host.name, host.mac, host.address, host.hostname) for host in hosts.hosts]
    both = [("ggnet-pc1-0", mac(1), "10.77.0.11", "reception"), ("ggnet-pc1-1", mac(1, 1), None, "reception")]
    assert told == (both if enabled else [])


def test_a_network_that_somebody_else_answers_on_is_not_rendered_but_served() -> None:
    wanted = resolve([network(dhcp="external"), image(), machine(1), session(1)], SITE, NOW)
    assert wanted.dhcp is not None
    assert (wanted.dhcp.subnets, wanted.dhcp.hosts) == ((), ())
    assert wanted.clients["pc1"].portal == "10.77.0.1:3260"


def test_a_machine_that_belongs_to_no_network_has_no_portal() -> None:
    found = resolve([network("one"), network("two", 1), machine(1, address=None), session(1)], SITE, NOW).clients["pc1"]
    assert (found.portal, found.hosts) == (None, ())


def test_every_session_to_be_kept_keeps_its_disk_until_it_is_deleted() -> None:
    kept, gone = session(1, persistence="keep", state="stopped"), session(2, persistence="keep", meta={"deletedAt": NOW})
    elsewhere = session(3, persistence="keep")
    wanted = resolve([machine(1), machine(2), machine(3, server="two"), kept, gone, elsewhere], SITE, NOW)
    assert wanted.keep == {kept.metadata.uid, elsewhere.metadata.uid}
    assert wanted.clients["pc2"].discard == {gone.metadata.uid}


def test_what_was_let_go_in_place_is_an_orphan_until_something_runs_there() -> None:
    orphan = {"annotations": {"ggnet/deletion-policy": "orphan"}, "deletedAt": NOW}
    assert client(machine(1, meta=orphan)).orphan
    gone = client(machine(1), session(1, meta=orphan))
    assert gone.orphan
    assert gone.idle == {}
    another = stored("Session", "b", {"machine": "pc1", "image": "win11"})
    assert not client(machine(1), session(1, meta=orphan), another).orphan


def test_a_part_of_the_objects_says_nothing_of_dhcp() -> None:
    wanted = resolve(room(1), SITE, NOW, complete=False)
    assert wanted.dhcp is None
    assert not wanted.complete


@pytest.mark.parametrize(
    ("observed", "ready", "expected"), [(1, "True", True), (0, "True", False), (1, "False", False), (1, "Unknown", False)]
)
def test_settled_is_ready_at_this_very_generation(observed: int, ready: Any, expected: bool) -> None:
    condition = Condition(type="Ready", status=ready, reason="X", last_transition_time=NOW, observed_generation=observed)
    status = SessionStatus(observed_generation=observed, conditions=(condition,))
    assert settled(session(1).model_copy(update={"status": status})) is expected
    assert not settled(session(1))


def test_pause_and_disruption_come_from_the_machine_or_its_session() -> None:
    asked = {"annotations": {"ggnet/paused": "true", "ggnet/disruption": "allowed"}}
    for found in (client(machine(1, meta=asked), session(1)), client(machine(1), session(1, meta=asked))):
        assert found.paused
        assert found.disruption
    assert not client(machine(1), session(1)).paused
