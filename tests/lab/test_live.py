"""A disk with a PC on it is not touched: what would change it waits, says so, and happens once the PC is off."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.lab.documents import ROOM, Document, image, machine, network, room, session
from tests.lab.site import INCLUDE, TARGETS, Site, script, target, until
from tests.lab.test_boot import pc
from tests.lab.witness import Changes, LoggedIn, kernel_tree

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
PC = "pc02"
OTHER = image("other")


def _rest(*sessions: Document) -> list[Document]:
    """The room without this machine."""
    return [network(), image(), *(machine(name, number) for name, number in ROOM.items() if name != PC), *sessions]


COMMITS: dict[str, Sequence[Document]] = {
    "another image": [*room(session(PC, "other")), OTHER],
    "stopped": room(session(PC, state="stopped")),
    "session removed": room(),
    "machine removed": _rest(),
    "read-only": room(session(PC, persistence="readonly")),
    "disabled": [*_rest(session(PC)), machine(PC, ROOM[PC], enabled=False)],
    "another address": [*_rest(session(PC)), machine(PC, ROOM[PC], address="10.77.0.77")],
}


@pytest.fixture
def other(site: Site) -> Site:
    site.put_image("other.raw", site.lab.prepared.boot_disk)
    return site


def waiting(site: Site) -> Any:
    """What the plan holds back; its steps."""
    return [step for step in json.loads(site.ggnet("plan", "-o", "json"))["steps"] if step.get("held")]


@pytest.mark.parametrize("what", COMMITS)
def test_a_commit_cuts_no_initiator_that_is_logged_in_and_says_what_waits(other: Site, what: str) -> None:
    site = other
    site.apply(room(session(PC)))
    site.ready(PC)
    exported = f"{TARGETS}/{target(PC)}"
    with LoggedIn(site, PC) as disk:
        site.await_phase(f"Session/{PC}", "Active")
        before, overlays, told = kernel_tree(site, exported), site.overlays(), dhcpd_tells(site)
        sha = site.commit(COMMITS[what])
        assert site.judged(sha)["verdict"] == "accepted"
        steps = until("the plan holds something back", lambda: waiting(site))
        assert {step["effect"] for step in steps} & {"disruptive", "next-boot", "data-loss"}, steps
        assert all(step["held"] for step in steps)
        assert disk.still_reads()
        assert kernel_tree(site, exported) == before
        assert set(overlays) <= set(site.overlays())
        assert dhcpd_tells(site) == told, "it would lose its address, and its disk with that"
        assert_told(site, steps)
    if what == "another address":
        until("it is told its new address once it is off", lambda: "10.77.0.77" in dhcpd_tells(site), 40)
    elif what not in ("another image", "read-only"):
        until("it is withdrawn once the initiator is gone", lambda: target(PC) not in site.targets(), 40)


def dhcpd_tells(site: Site) -> str:
    """The declaration of this PC."""
    return next((line for line in site.read(INCLUDE).splitlines() if line.startswith(f"host ggnet-{PC}-0 ")), "")


def assert_told(site: Site, steps: Any) -> None:
    """Some object that a held step is about says in its status what waits and why."""
    owners = {owner for step in steps for owner in step["owners"]}
    said = [
        condition["message"]
        for kind in ("sessions", "machines")
        for one in site.ask(kind)["items"]
        if f"{one['kind']}/{one['metadata']['name']}" in owners
        for condition in one.get("status", {}).get("conditions", [])
    ]
    assert any(f"{PC} is running" in message for message in said), said


def test_a_pc_at_work_keeps_its_disk_and_gets_the_new_one_at_its_next_boot(other: Site) -> None:
    site = other
    site.apply(room(session(PC)))
    one = pc(site, PC)
    one.boot()
    one.wait("NOTE-IS")
    site.await_phase(f"Session/{PC}", "Active")
    before, [overlay] = kernel_tree(site, f"{TARGETS}/{target(PC)}"), site.overlays()
    site.commit(COMMITS["another image"])
    until("the plan holds something back", lambda: waiting(site))
    assert kernel_tree(site, f"{TARGETS}/{target(PC)}") == before
    assert overlay in site.overlays()
    assert "NOTE-ERROR" not in one.console
    assert site.get(f"Session/{PC}")["status"]["phase"] == "Active"
    one.power_off()
    until("the old disk is gone once the PC is off", lambda: overlay not in site.overlays(), 40)
    assert ["+other@v1+" in name for name in site.overlays()] == [True]
    site.ready(PC)
    assert one.boot() == one.mac
    assert one.wait("NOTE-WAS") == ""
    one.power_off()


def test_somebody_who_asks_for_it_by_name_gets_the_disruption(site: Site) -> None:
    site.apply(room(session(PC)))
    with LoggedIn(site, PC) as disk:
        site.await_phase(f"Session/{PC}", "Active")
        with Changes(site, f"{TARGETS}/{target(PC)}", script("52:54:00:00:00:66")):
            site.commit(room(session(PC, annotations={"ggnet/disruption": "allowed"}, state="stopped")))
            until("the target is gone", lambda: target(PC) not in site.targets())
        until("the initiator is cut", lambda: not disk.still_reads())
