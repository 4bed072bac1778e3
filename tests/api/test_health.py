"""Alive, ready, and what a dead controller's statuses are worth."""

import json
import time
from datetime import datetime, timedelta

from controller.adapters.clock import SystemClock
from controller.core.observed import Observed
from controller.core.snapshot import dumps
from tests.api.served import SITE, Served, session


def swept(at: datetime, epoch: int) -> dict[str, str]:
    return {"sweep": json.dumps({"at": at.isoformat(), "epoch": epoch})}


def test_ready_says_which_part_is_missing(door: Served) -> None:
    with door.http as http:
        checks = http.get("/readyz").json()["checks"]
        assert {name: check["ok"] for name, check in checks.items()} == {"store": True, "controller": False, "sweep": False}
        door.lead()
        assert {name: check["ok"] for name, check in http.get("/readyz").json()["checks"].items()}["controller"] is True
        door.observe(swept(SystemClock().now(), door.lease[0].epoch))
        ready = http.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)


def test_what_an_earlier_controller_saw_makes_nobody_ready(door: Served) -> None:
    door.lead()
    door.observe(swept(SystemClock().now(), door.lease[0].epoch))
    door.lead()
    with door.http as http:
        ready = http.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["sweep"]["ok"]) == (503, False)
        door.observe(swept(SystemClock().now(), door.lease[0].epoch))
        assert http.get("/readyz").status_code == 200


def test_a_sweep_of_long_ago_is_not_ready(door: Served) -> None:
    door.lead()
    long_ago = SystemClock().now() - timedelta(hours=1)
    door.observe(swept(long_ago, door.lease[0].epoch))
    with door.http as http:
        assert http.get("/readyz").json()["checks"]["sweep"]["ok"] is False


def test_a_dead_controllers_statuses_are_unknown_and_stay_as_they_were(door: Served) -> None:
    door.apply(SITE)
    door.apply(session(7))
    door.lead()
    door.reach("Session/pc07", "Active")
    with door.http as http:
        assert http.get("/api/v1/sessions/pc07").json()["status"]["phase"] == "Active"
        door.lead(-1)
        time.sleep(1.1)  # a lease that held is believed for a second
        before = http.get("/api/v1/sessions").json()["metadata"]["resourceVersion"]
        for seen in (http.get("/api/v1/sessions/pc07").json(), http.get("/api/v1/sessions").json()["items"][0]):
            (ready,) = seen["status"]["conditions"]
            assert (seen["status"]["phase"], ready["status"], ready["reason"]) == ("Unknown", "Unknown", "ControllerGone")
        assert http.get("/api/v1/machines/pc07").json()["status"]["conditions"][0]["reason"] == "ControllerGone"
        assert http.get("/api/v1/sessions").json()["metadata"]["resourceVersion"] == before
        door.lead()
        assert http.get("/api/v1/sessions/pc07").json()["status"]["phase"] == "Active"


def test_a_plan_is_made_from_what_was_last_observed_and_says_how_old_that_is(site: Served) -> None:
    at = SystemClock().now() - timedelta(seconds=30)
    empty = Observed(complete=frozenset({"pool", "lio", "tftp", "dhcp"}))
    site.observe({**dumps(empty), **swept(at, site.lease[0].epoch)})
    with site.http as http:
        plan = http.post("/api/v1/plan").json()
        assert 29 <= plan["observedSecondsAgo"] <= 60
        assert [step["action"] for step in plan["steps"]].count("LoadDhcp") == 1
        overlaid = http.post("/api/v1/plan", content=session(7)).json()
        scripts = [step["subject"] for step in overlaid["steps"] if step["action"] == "WriteBootFile"]
        assert scripts
        assert http.get("/api/v1/sessions").json()["items"] == []
        drift = http.get("/api/v1/drift").json()
        assert (drift["steps"], drift["events"]) == (plan["steps"], [])
        assert http.post("/api/v1/plan", content=session(9)).status_code == 422


def test_metrics_count_by_route_never_by_path(site: Served) -> None:
    with site.http as http:
        for name in ("pc07", "pc08", "pc99"):
            http.get(f"/api/v1/machines/{name}")
        http.get("/api/v1/nowhere/else")
        text = http.get("/metrics").text
    assert 'ggnet_objects{kind="Machine",phase="Pending"} 2.0' in text
    assert 'route="/api/v1/machines/{name}"' in text
    assert "pc99" not in text
    assert "else" not in text
