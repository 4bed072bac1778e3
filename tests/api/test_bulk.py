"""Whole rooms at once: all of them or none, unless what can be done is asked for."""

from typing import Any

import httpx
import pytest

from tests.api.served import IMAGE, NETWORK, SITE, Served, machine, session, several

ROOM = several(NETWORK, IMAGE, *(machine(number) for number in range(20, 26)), machine(26, room="lab"))
START = {"labelSelector": "room=main", "image": "win11"}


def start(http: httpx.Client, body: Any, **query: str) -> httpx.Response:
    return http.post("/api/v1/bulk/start", json=body, params=query)


def stop(http: httpx.Client, body: Any, **query: str) -> httpx.Response:
    return http.post("/api/v1/bulk/stop", json=body, params=query)


def outcomes(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {one["machine"]: one["outcome"] for one in answer.json()["items"]}


def running(http: httpx.Client) -> list[str]:
    items = http.get("/api/v1/sessions").json()["items"]
    return [one["metadata"]["name"] for one in items if one["spec"]["state"] == "running"]


@pytest.fixture
def room(door: Served) -> Served:
    door.lead()
    door.apply(ROOM)
    return door


def test_a_room_starts_and_stops_in_one_transaction_each(room: Served) -> None:
    with room.http as http:
        before = int(http.get("/api/v1/sessions").json()["metadata"]["resourceVersion"])
        answer = start(http, START)
        assert outcomes(answer) == {f"pc{number}": "started" for number in range(20, 26)}
        assert answer.json()["items"][0]["session"] == "Session/pc20"
        assert answer.json()["resourceVersion"] == before + 6
        assert running(http) == [f"pc{number}" for number in range(20, 26)]
        assert set(outcomes(start(http, START)).values()) == {"unchanged"}
        assert outcomes(stop(http, {"machines": ["pc21", "pc20", "pc26"]})) == {
            "pc20": "stopped",
            "pc21": "stopped",
            "pc26": "unchanged",
        }
        assert running(http) == ["pc22", "pc23", "pc24", "pc25"]
        assert set(outcomes(stop(http, {"labelSelector": "room"})).values()) == {"stopped", "unchanged"}
        assert running(http) == []
        assert start(http, {"labelSelector": "room=none", "image": "win11"}).json()["items"] == []


def test_with_one_refusal_nothing_is_done_and_every_refusal_is_told(room: Served) -> None:
    room.commit(session(22, state="stopped"))
    with room.http as http:
        answer = start(http, {"machines": ["pc20", "pc22", "pc99"], "image": "win11"})
        assert (answer.status_code, answer.json()["error_code"]) == (409, "refused")
        assert "partial" in answer.json()["detail"]
        assert [(one["object"], one["error_code"]) for one in answer.json()["errors"]] == [
            ("Session/pc22", "managed"),
            ("Machine/pc99", "not_found"),
        ]
        assert running(http) == []
        told = outcomes(start(http, {"machines": ["pc20", "pc22", "pc99"], "image": "win11"}, partial="true"))
        assert told == {"pc20": "started", "pc22": "refused", "pc99": "refused"}
        assert running(http) == ["pc20"]
        assert outcomes(start(http, {"machines": ["pc22"], "image": "win11"}, force="true")) == {"pc22": "started"}


def test_what_the_whole_set_forbids_is_refused_by_machine(room: Served) -> None:
    room.apply(session(20).replace("{name: pc20}", "{name: other}"))
    with room.http as http:
        told = start(http, START, partial="true")
        assert outcomes(told) == {"pc20": "refused", **{f"pc{number}": "started" for number in range(21, 26)}}
        (refused,) = (one for one in told.json()["items"] if one["outcome"] == "refused")
        assert (refused["errorCode"], refused["field"]) == ("invalid", "spec.machine")
        assert "other" in refused["message"]
        assert outcomes(stop(http, {"machines": ["pc20"]})) == {"pc20": "stopped"}, "whatever its session is called"
        wrong = start(http, {**START, "image": "win99"})
        assert wrong.status_code == 409
        assert {one["field"] for one in wrong.json()["errors"]} == {"spec.image"}
        assert len(wrong.json()["errors"]) == 6


def test_a_first_start_needs_an_image_and_a_session_of_another_machine_stays_its(room: Served) -> None:
    room.apply(session(26).replace("name: pc26", "name: pc20"))
    with room.http as http:
        answer = start(http, {"machines": ["pc20", "pc21"]}, partial="true").json()["items"]
        assert [(one["outcome"], one["field"]) for one in answer] == [("refused", "image"), ("refused", "image")]
        answer = start(http, {"machines": ["pc20"], "image": "win11"}, partial="true").json()["items"]
        assert "Machine/pc26" in answer[0]["message"]


def test_a_dry_run_tells_the_same_and_does_nothing(room: Served) -> None:
    with room.http as http:
        would = start(http, START, dryRun="true").json()
        assert (running(http), would["dryRun"]) == ([], True)
        assert start(http, START).json()["items"] == would["items"]


def test_a_running_pc_is_cut_only_by_force(room: Served) -> None:
    room.apply(session(20))
    room.reach("Session/pc20", "Active")
    with room.http as http:
        assert outcomes(stop(http, {"machines": ["pc20"]})) == {"pc20": "stopped"}
        assert http.get("/api/v1/sessions/pc20").json()["metadata"]["annotations"] == {}
        assert outcomes(stop(http, {"machines": ["pc20"]}, force="true")) == {"pc20": "stopped"}
        assert http.get("/api/v1/sessions/pc20").json()["metadata"]["annotations"] == {"ggnet/disruption": "allowed"}


BAD = {
    "neither": ({"image": "win11"}, 422),
    "both": ({"machines": ["pc20"], "labelSelector": "room"}, 422),
    "no names": ({"machines": []}, 422),
    "an empty selector": ({"labelSelector": ""}, 422),
    "a bad selector": ({"labelSelector": "room in", "image": "win11"}, 400),
    "a bad name": ({"machines": ["../x"]}, 422),
    "a bad image": ({"machines": ["pc20"], "image": "no!"}, 422),
    "one machine for all": ({"machines": ["pc20"], "image": "win11", "machine": "pc21"}, 422),
    "an unknown field": ({"machines": ["pc20"], "colour": 1}, 422),
    "a list": (["pc20"], 422),
    "too many": ({"machines": ["pc20"] * 10_001}, 422),
}


def test_a_request_that_makes_no_sense_is_one_problem_with_its_field(room: Served) -> None:
    with room.http as http:
        for what, (body, status) in BAD.items():
            answer = start(http, body)
            assert answer.status_code == status, (what, answer.text)
            assert len(answer.text) < 2000
            assert answer.json()["errors"][0]["message"] if status == 422 else answer.json()["detail"]
        assert running(http) == []


def test_a_session_called_start_is_still_reached(site: Served) -> None:
    site.apply(machine(9).replace("pc09", "start"))
    with site.http as http:
        assert http.post("/api/v1/sessions/start/start", json={"image": "win11"}).json()["spec"]["machine"] == "start"


def test_many_are_deleted_by_label_all_or_none(room: Served) -> None:
    with room.http as http:
        for bad in ({}, {"labelSelector": ""}):
            assert http.delete("/api/v1/machines", params=bad).status_code == 422
        refused = http.delete("/api/v1/machines", params={"labelSelector": "room=main"})
        assert (refused.status_code, refused.json()["error_code"]) == (409, "guarded")
        assert "6 of 7" in refused.json()["detail"]
        would = http.delete("/api/v1/machines", params={"labelSelector": "room=main", "force": "true", "dryRun": "true"})
        assert len(would.json()["deleted"]) == 6
        room.apply(session(26))
        held = http.delete("/api/v1/machines", params={"labelSelector": "room=lab"})
        assert held.status_code == 422, "its session names it"
        names = [one["metadata"]["name"] for one in http.get("/api/v1/machines").json()["items"]]
        assert len(names) == 7
        done = http.delete("/api/v1/machines", params={"labelSelector": "room=main", "force": "true"})
        assert (done.status_code, done.json()["deleted"]) == (202, [f"Machine/pc{number}" for number in range(20, 26)])
        assert http.delete("/api/v1/machines", params={"labelSelector": "room=main"}).json()["deleted"] == []


def test_many_are_not_deleted_with_one_that_a_source_manages_or_whose_pc_runs(site: Served) -> None:
    site.commit(machine(9))
    with site.http as http:
        refused = http.delete("/api/v1/machines", params={"labelSelector": "room=main"})
        assert (refused.status_code, refused.json()["error_code"]) == (409, "managed")
        site.apply(session(7))
        site.reach("Session/pc07", "Active")
        http.patch("/api/v1/sessions/pc07", json={"metadata": {"labels": {"old": "yes"}}}).raise_for_status()
        refused = http.delete("/api/v1/sessions", params={"labelSelector": "old"})
        assert (refused.status_code, refused.json()["error_code"]) == (409, "guarded")
        assert http.get("/api/v1/machines").json()["items"][0]["metadata"].get("deletedAt") is None


def test_the_command_starts_and_stops_rooms(room: Served) -> None:
    tried = room.ggnet("start", "-l", "room=main", "--image", "win11", "--dry-run")
    assert tried.stdout.splitlines()[0] == "Session/pc20 started (dry run)"
    done = room.ggnet("start", "-l", "room=main", "--image", "win11")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 6)
    assert room.ggnet("stop", "pc20", "machine/pc21").stdout == "Session/pc20 stopped\nSession/pc21 stopped\n"
    refused = room.ggnet("start", "pc20", "pc99")
    assert refused.returncode == 3
    assert "Machine/pc99: there is no Machine/pc99" in refused.stderr
    some = room.ggnet("start", "pc20", "pc99", "--partial")
    assert (some.returncode, some.stdout.splitlines()[0]) == (3, "Session/pc20 started")
    assert room.ggnet("start", "-l", "room=none", "--image", "win11").stderr == "no machine has these labels\n"
    for words in ((), ("pc20", "-l", "room=main")):
        assert room.ggnet("start", *words).returncode == 2
    assert room.ggnet("delete", "machines", "-l", "room=main").returncode == 9
    assert room.ggnet("delete", "machines").returncode == 2
    assert room.ggnet("delete", "machines", "-l", "room=none").stderr == "no machines with these labels\n"


def test_a_room_starts_on_either_database(either: Served) -> None:
    either.apply(SITE)
    with either.http as http:
        assert outcomes(start(http, {"labelSelector": "room", "image": "win11"})) == {"pc07": "started", "pc08": "started"}
