"""Whoever has a little tries to get more: by another route, another label, another name, another document, a flag."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.metrics import PREFIX
from api.roles import Role
from controller.core.observed import Observed
from controller.core.snapshot import dumps
from tests.api.served import IMAGE, NETWORK, Served, machine, serving, session, several
from tests.api.warm import Warm

VIEWER, OPERATOR, ADMIN = Role.VIEWER, Role.OPERATOR, Role.ADMIN
SECRET = "keep-this-to-yourself"
ROOM = "main"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    """Rooms main (pc07, pc09) and lab (pc08); ada attends main, bob changes it, eve sees it alone."""
    with serving(tmp_path_factory.mktemp("attacks"), warm, announced=True) as served:
        served.lead()
        served.observe(dumps(Observed(complete=frozenset({"pool", "lio", "tftp", "dhcp"}))))
        served.bind("ada", "start", "stop")
        served.bind("bob", "write", "delete")
        served.bind("eve", "write", "delete", "start", "stop", "suspend", "force", narrows=True)
        yield served


@pytest.fixture
def rooms(shared: Served) -> Iterator[Served]:
    """All as it was, and afterwards the other room still is."""
    lab = several(
        machine(8, room="lab").replace("spec: {", f"spec: {{hostname: {SECRET}, "),
        session(8, state="stopped"),
        session(9, state="stopped").replace("pc09}", "extra}").replace("machine: pc09", "machine: pc08"),
    )
    shared.apply(several(NETWORK, IMAGE, machine(7), lab, machine(9), session(7, state="stopped")))
    with shared.http as admin:
        for path in ("sessions/pc09", "sessions/pc10", "machines/pc10", "machines/pc11"):
            if admin.delete(f"{PREFIX}/{path}").status_code == 202:
                shared.gone({"s": "Session/", "m": "Machine/"}[path[0]] + path.partition("/")[2])
        before = other(admin)
        yield shared
        assert other(admin) == before


def other(admin: httpx.Client) -> dict[str, Any]:
    """What nobody of room main may touch; its versions aside, which the administrator of a test may move."""
    paths = ("machines/pc08", "sessions/pc08", "sessions/extra", "images/win11", "networks/main")
    found = {path: admin.get(f"{PREFIX}/{path}").json() for path in paths}
    for one in found.values():
        del one["metadata"]["resourceVersion"]
    return found


def refused(got: httpx.Response, status: int = 403) -> None:
    codes = {403: "forbidden", 404: "not_found", 409: "exists", 412: "conflict", 422: "invalid"}
    assert (got.status_code, got.json()["error_code"]) == (status, codes[status]), got.text
    assert SECRET not in got.text
    assert got.json()["detail"]


def manifest(text: str) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load(text)
    return found


# by another label


@pytest.mark.parametrize("user", ["bob", "eve"])
def test_a_label_brings_nothing_of_another_room_into_ones_own(rooms: Served, user: str) -> None:
    taken = machine(8).replace("address", f"hostname: {SECRET}, address")
    with rooms.acting(user, VIEWER) as http:
        refused(http.put(f"{PREFIX}/machines/pc08", content=taken))
        unseen = 404 if user == "eve" else 403
        refused(http.patch(f"{PREFIX}/machines/pc08", json={"metadata": {"labels": {"room": ROOM}}}), unseen)
        refused(http.patch(f"{PREFIX}/machines/pc08", json={"metadata": {"labels": None}}), unseen)
        refused(http.post(f"{PREFIX}/apply", content=taken))
        refused(http.post(f"{PREFIX}/apply", content=taken, params={"dryRun": "true"}))
        refused(http.post(f"{PREFIX}/apply", content=taken, params={"force": "true"}))
        got = http.post(f"{PREFIX}/machines", content=taken)
        assert got.status_code in (403, 409)
        assert SECRET not in got.text


@pytest.mark.parametrize("user", ["bob", "eve"])
def test_nothing_is_put_out_of_ones_room(rooms: Served, user: str) -> None:
    with rooms.acting(user, VIEWER) as http:
        for labels in (
            {"room": "lab"},
            {"room": None},
            None,
            {"room": "MAIN"},
            {"room": "main2"},
            {"Room": "main", "room": None},
        ):
            refused(http.patch(f"{PREFIX}/machines/pc07", json={"metadata": {"labels": labels}}))
        refused(http.put(f"{PREFIX}/machines/pc07", content=machine(7, room="lab")))
        refused(http.post(f"{PREFIX}/machines", content=machine(11, room="lab")))


def test_the_labels_of_a_session_do_not_stand_for_those_of_its_machine(rooms: Served) -> None:
    labelled = session(8, state="stopped").replace("{name: pc08}", "{name: pc08, labels: {room: main}}")
    with rooms.http as admin, rooms.acting("ada", VIEWER) as ada, rooms.acting("bob", VIEWER) as bob:
        refused(bob.put(f"{PREFIX}/sessions/pc08", content=labelled))
        refused(bob.put(f"{PREFIX}/sessions/new", content=labelled.replace("name: pc08", "name: new")))
        standing = admin.get(f"{PREFIX}/sessions/pc08").json()
        del standing["metadata"]["resourceVersion"]
        admin.put(f"{PREFIX}/sessions/pc08", content=labelled).raise_for_status()
        refused(ada.post(f"{PREFIX}/sessions/pc08/start"))
        refused(ada.post(f"{PREFIX}/sessions/pc08/stop"))
        admin.put(f"{PREFIX}/sessions/pc08", json=standing).raise_for_status()


def test_a_session_that_is_labelled_out_of_the_room_is_out_of_it(rooms: Served) -> None:
    with rooms.http as admin, rooms.acting("ada", VIEWER) as ada, rooms.acting("eve", VIEWER) as eve:
        out = {"metadata": {"labels": {"room": "exam"}}}
        admin.patch(f"{PREFIX}/sessions/pc07", json=out).raise_for_status()
        refused(ada.post(f"{PREFIX}/sessions/pc07/start"))
        refused(eve.post(f"{PREFIX}/sessions/pc07/start", json={"image": "win11"}))
        refused(eve.post(f"{PREFIX}/sessions/pc07/stop"), 404)
        assert eve.get(f"{PREFIX}/sessions").json()["items"] == []


# by another name


@pytest.mark.parametrize("user", ["ada", "bob", "eve"])
def test_a_session_reaches_no_machine_of_another_room(rooms: Served, user: str) -> None:
    with rooms.acting(user, VIEWER) as http:
        for name in ("pc07", "pc09", "pc10"):
            got = http.post(f"{PREFIX}/sessions/{name}/start", json={"image": "win11", "machine": "pc08"})
            refused(got, 404 if user == "eve" and name != "pc07" else 403)
        if user == "bob":
            moved = session(7).replace("machine: pc07", "machine: pc08")
            refused(http.put(f"{PREFIX}/sessions/pc07", content=moved))
            refused(http.patch(f"{PREFIX}/sessions/pc07", json={"spec": {"machine": "pc08"}}))


def test_a_session_of_ones_own_machine_takes_no_name_of_another_room(rooms: Served) -> None:
    """Else the other room's next start of pc10 would run on this one's machine."""
    rooms.apply(machine(10, room="lab"))
    with rooms.acting("ada", VIEWER) as ada, rooms.acting("bob", VIEWER) as bob:
        refused(ada.post(f"{PREFIX}/sessions/pc10/start", json={"image": "win11", "machine": "pc07"}))
        refused(bob.put(f"{PREFIX}/sessions/pc10", content=session(9).replace("name: pc09", "name: pc10")))
        refused(ada.post(f"{PREFIX}/sessions/whatever/start", json={"image": "win11", "machine": "pc07"}))


def test_a_session_of_another_room_is_not_taken_over(rooms: Served) -> None:
    with rooms.acting("ada", VIEWER) as ada, rooms.acting("bob", VIEWER) as bob:
        refused(ada.post(f"{PREFIX}/sessions/extra/start", json={"image": "win11", "machine": "pc07"}))
        refused(ada.post(f"{PREFIX}/sessions/pc08/start", json={"machine": "pc07"}))
        refused(bob.put(f"{PREFIX}/sessions/extra", content=session(9).replace("name: pc09", "name: extra")))
        refused(bob.patch(f"{PREFIX}/sessions/pc08", json={"spec": {"machine": "pc07"}}))


# by many documents


def test_one_document_out_of_bounds_refuses_the_whole_set(rooms: Served) -> None:
    mine = machine(7).replace("address", "hostname: changed, address")
    with rooms.http as admin, rooms.acting("bob", VIEWER) as bob:
        standing = admin.get(f"{PREFIX}/machines/pc07").json()
        for foreign in (machine(8), machine(8, room="lab"), session(8), machine(11, room="lab"), IMAGE, NETWORK):
            for documents in (several(mine, foreign), several(foreign, mine)):
                refused(bob.post(f"{PREFIX}/apply", content=documents))
        wrapped = {"items": [manifest(mine), manifest(machine(8))]}
        refused(bob.post(f"{PREFIX}/apply", json=wrapped))
        assert admin.get(f"{PREFIX}/machines/pc07").json() == standing


def test_a_machine_and_its_session_do_not_vouch_for_each_other(rooms: Served) -> None:
    """The set would hold together afterwards; before, the machine is another room's."""
    with rooms.acting("bob", VIEWER) as bob:
        refused(bob.post(f"{PREFIX}/apply", content=several(machine(8), session(8))))


def test_a_new_machine_and_its_session_may_be_applied_together(rooms: Served) -> None:
    with rooms.acting("bob", VIEWER) as bob:
        got = bob.post(f"{PREFIX}/apply", content=several(machine(10), session(10, state="stopped")))
        assert got.status_code == 200, got.text
        assert bob.delete(f"{PREFIX}/sessions/pc10").status_code == 202


# by a flag or an annotation

DISRUPT = {"metadata": {"annotations": {"ggnet/disruption": "allowed"}}}
PAUSE = {"metadata": {"annotations": {"ggnet/paused": "true"}}}


def test_force_and_what_it_stands_for_are_permissions_of_their_own(rooms: Served) -> None:
    forced = {"force": "true"}
    with rooms.acting("ada", VIEWER) as ada, rooms.acting("bob", VIEWER) as bob, rooms.acting("eve", VIEWER) as eve:
        refused(ada.post(f"{PREFIX}/sessions/pc07/stop", params=forced))
        refused(ada.post(f"{PREFIX}/sessions/pc07/start", params=forced))
        for kinds in ("machines", "sessions"):
            refused(bob.patch(f"{PREFIX}/{kinds}/pc07", json={}, params=forced))
            refused(bob.patch(f"{PREFIX}/{kinds}/pc07", json=DISRUPT))
            refused(bob.patch(f"{PREFIX}/{kinds}/pc07", json=PAUSE))
            refused(bob.delete(f"{PREFIX}/{kinds}/pc07", params=forced))
            refused(bob.post(f"{PREFIX}/{kinds}/pc07/suspend"))
        document = manifest(machine(7))
        document["metadata"] |= DISRUPT["metadata"]
        refused(bob.put(f"{PREFIX}/machines/pc07", json=document))
        refused(bob.post(f"{PREFIX}/apply", json=document))
        assert eve.post(f"{PREFIX}/sessions/pc07/stop", params=forced).status_code == 200
        refused(eve.post(f"{PREFIX}/sessions/pc08/stop", params=forced), 404)


def test_what_somebody_suspended_is_not_resumed_by_a_write(rooms: Served) -> None:
    with rooms.http as admin, rooms.acting("bob", VIEWER) as bob:
        admin.post(f"{PREFIX}/machines/pc07/suspend").raise_for_status()
        refused(bob.put(f"{PREFIX}/machines/pc07", content=machine(7)))
        refused(bob.post(f"{PREFIX}/machines/pc07/resume"))
        kept = bob.patch(f"{PREFIX}/machines/pc07", json={"spec": {"hostname": "kept"}})
        assert kept.json()["metadata"]["annotations"] == {"ggnet/paused": "true"}
        admin.post(f"{PREFIX}/machines/pc07/resume").raise_for_status()


# by what is the whole site's


def test_a_label_makes_no_network_or_image_ones_own(rooms: Served) -> None:
    network = manifest(NETWORK.replace("name: main", "name: mine").replace("10.77.0", "10.78.0"))
    image = manifest(IMAGE.replace("win11", "mine"))
    with rooms.acting("bob", VIEWER) as bob:
        for kinds, one in (("networks", network), ("images", image)):
            one["metadata"]["labels"] = {"room": ROOM}
            refused(bob.post(f"{PREFIX}/{kinds}", json=one))
            refused(bob.put(f"{PREFIX}/{kinds}/mine", json=one))
            refused(bob.post(f"{PREFIX}/apply", json=one))
            standing = {"networks": "main", "images": "win11"}[kinds]
            refused(bob.patch(f"{PREFIX}/{kinds}/{standing}", json={"metadata": {"labels": {"room": ROOM}}}))
            refused(bob.delete(f"{PREFIX}/{kinds}/{standing}"))


def test_what_a_narrowed_user_cannot_see_cannot_be_named_either(rooms: Served) -> None:
    """The answer for what is hidden is the answer for what is not there."""
    with rooms.acting("eve", VIEWER) as eve:
        for word, there, absent in (("image", "win11", "win99"), ("network", "main", "none")):
            kinds = {"image": "sessions/pc09/start", "network": "machines/pc07"}[word]
            send = {"image": lambda name: eve.post(f"{PREFIX}/sessions/pc09/start", json={"image": name})}
            send["network"] = lambda name: eve.patch(f"{PREFIX}/machines/pc07", json={"spec": {"network": name}})
            hidden, gone = send[word](there), send[word](absent)
            refused(hidden, 422)
            refused(gone, 422)
            assert hidden.json()["detail"].replace(there, "x") == gone.json()["detail"].replace(absent, "x"), kinds


def test_a_clash_with_what_is_hidden_does_not_tell_its_name(rooms: Served) -> None:
    clashes = (
        machine(9).replace("52:54:00:00:00:09", "52:54:00:00:00:08"),
        machine(9).replace("10.77.0.59", "10.77.0.58"),
        machine(9).replace("10.77.0.59", "10.77.0.1"),
        machine(9).replace("10.77.0.59", "10.99.0.1"),
        machine(9).replace("spec: {", f"spec: {{hostname: {SECRET}, "),
    )
    with rooms.acting("eve", VIEWER) as eve, rooms.http as admin:
        for text in clashes:
            for path in ("machines/pc09", "apply"):
                got = eve.request("PUT" if "/" in path else "POST", f"{PREFIX}/{path}", content=text)
                assert got.status_code == 422
                assert not re.search(r"pc08|Network/main|10\.77\.0\.0", got.text), got.text
        told = admin.put(f"{PREFIX}/machines/pc09", content=clashes[0])
        assert "pc08" in told.text, "whoever sees it is told"


def probes(name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """All ways to ask for something to stand under this name, in the own room and out of it."""
    mine, theirs = machine(8).replace("pc08", name), machine(8, room="lab").replace("pc08", name)
    image, network = IMAGE.replace("win11", name), NETWORK.replace("name: main", f"name: {name}")
    for text in (mine, theirs):
        fresh = text.replace("00:08", "00:77").replace("10.77.0.58", "10.77.0.99")
        for params in ({}, {"dryRun": "true"}, {"force": "true"}):
            yield "POST", "machines", {"content": fresh, "params": params}
            yield "PUT", f"machines/{name}", {"content": fresh, "params": params}
            yield "POST", "apply", {"content": fresh, "params": params}
        for header in ({"If-None-Match": "*"}, {"If-Match": '"1"'}, {"If-Match": "*"}, {"Idempotency-Key": f"k{name}"}):
            yield "PUT", f"machines/{name}", {"content": fresh, "headers": header}
            yield "POST", "machines", {"content": fresh, "headers": header}
        yield "POST", "plan", {"content": fresh}
    for kinds, text in (("images", image), ("networks", network)):
        yield "POST", kinds, {"content": text}
        yield "PUT", f"{kinds}/{name}", {"content": text}
    for on in (name, "pc07"):
        text = session(8, state="stopped").replace("machine: pc08", f"machine: {on}").replace("name: pc08", f"name: {name}")
        yield "POST", "sessions", {"content": text}
        yield "PUT", f"sessions/{name}", {"content": text}
        yield "POST", f"sessions/{name}/start", {"json": {"image": "shared", "machine": on}}
    for kinds in ("machines", "sessions"):
        yield "POST", f"{kinds}/{name}/restore", {}
        yield "PATCH", f"{kinds}/{name}", {"json": {}}
        yield "DELETE", f"{kinds}/{name}", {}


def test_nothing_that_is_refused_tells_whether_a_name_is_taken(rooms: Served) -> None:
    """pc08 is another room's, with a session; pc66 is nobody's."""
    rooms.apply(several(session(8, state="stopped"), IMAGE.replace("win11", "pc08"), IMAGE.replace("win11", "shared")))

    def plain(got: httpx.Response) -> tuple[int, str]:
        told = {name: value for name, value in got.json().items() if name not in ("timestamp", "request_id", "instance")}
        return got.status_code, json.dumps(told).replace("pc66", "pc08")

    with rooms.acting("eve", VIEWER) as eve:
        for taken, free in zip(probes("pc08"), probes("pc66"), strict=True):
            there, absent = (eve.request(one[0], f"{PREFIX}/{one[1]}", **one[2]) for one in (taken, free))
            assert plain(there) == plain(absent), taken
            assert there.status_code >= 400, (taken, there.text)
    with rooms.http as admin:
        assert admin.get(f"{PREFIX}/machines/pc66").status_code == 404


def test_many_at_once_tell_no_more_of_hidden_sessions_than_one(rooms: Served) -> None:
    """A session of another room's machine bears the name of one's own; one of the own is labelled out of the room."""
    elsewhere = session(9).replace("machine: pc09", "machine: pc08")
    secret = session(7).replace("{name: pc07}", f"{{name: {SECRET}, labels: {{room: lab}}}}")
    rooms.apply(several(IMAGE.replace("{name: win11}", "{name: shared, labels: {room: main}}"), elsewhere, secret))
    with rooms.acting("eve", VIEWER) as eve, rooms.http as admin:
        for partial in ("false", "true"):
            for verb, chosen in (("start", {"image": "shared"}), ("stop", {})):
                got = eve.post(
                    f"{PREFIX}/bulk/{verb}", params={"partial": partial}, json={**chosen, "machines": ["pc07", "pc09"]}
                )
                assert not re.search(f"pc08|{SECRET}", got.text), got.text
        (first, *_) = eve.post(f"{PREFIX}/bulk/start", json={"image": "shared", "machines": ["pc09"]}).json()["errors"]
        alone = eve.post(f"{PREFIX}/sessions/pc09/start", json={"image": "shared"}).json()
        assert (first["error_code"], first["message"]) == ("forbidden", alone["detail"])
        rooms.reach(f"Session/{SECRET}", "Active")
        kept = eve.delete(f"{PREFIX}/machines/pc07")
        assert kept.json()["error_code"] == "guarded"
        assert SECRET not in kept.text
        rooms.reach(f"Session/{SECRET}", "Ready")
        for key in ("pc09", SECRET):
            admin.delete(f"{PREFIX}/sessions/{key}").raise_for_status()
            rooms.gone(f"Session/{key}")


def test_who_sees_one_room_makes_the_session_of_its_machine_and_brings_back_what_they_deleted(rooms: Served) -> None:
    rooms.apply(machine(10))
    with rooms.acting("eve", VIEWER) as eve:
        assert eve.delete(f"{PREFIX}/machines/pc10").status_code == 202
        rooms.gone("Machine/pc10")
        assert eve.post(f"{PREFIX}/machines/pc10/restore").status_code == 200
        refused(eve.post(f"{PREFIX}/machines", content=machine(11)))


def test_a_selector_lists_nothing_of_another_room(rooms: Served) -> None:
    with rooms.acting("eve", VIEWER) as eve:
        for selector in ("room=lab", "room!=main", "!x", "room in (lab,main)", ""):
            for query in ({"labelSelector": selector}, {"labelSelector": selector, "limit": "1"}):
                for kinds in ("machines", "sessions", "images", "networks"):
                    got = eve.get(f"{PREFIX}/{kinds}", params=query)
                    assert got.status_code == 200
                    assert not re.search(f'pc08|extra|{SECRET}|win11"}}|10.77.0.0/24', got.text)


def test_events_of_another_room_are_as_if_there_were_none(rooms: Served) -> None:
    rooms.tell("Machine/pc08", "Machine/pc07", "Machine/gone")
    with rooms.acting("eve", VIEWER) as eve:
        assert eve.get(f"{PREFIX}/events", params={"object": "Machine/pc08"}).json() == {"items": []}
        assert {one["object"] for one in eve.get(f"{PREFIX}/events", params={"limit": 1}).json()["items"]} == {
            "Machine/pc07"
        }


# by what only the server says

CLAIMS = {
    "uid": "00000000-0000-0000-0000-000000000000",
    "generation": 999,
    "createdAt": "1999-01-01T00:00:00Z",
    "managedBy": "git:infra",
    "deletedAt": "1999-01-01T00:00:00Z",
}
STATUS = {"observedGeneration": 999, "phase": "Active", "conditions": []}


def claims(http: httpx.Client, field: str, value: Any) -> Iterator[tuple[str, httpx.Response]]:
    """One write by every route that takes an object, each claiming this of it."""
    body = manifest(machine(7).replace("address", "hostname: claimed, address"))
    if field == "status":
        body["status"] = value
    else:
        body["metadata"][field] = value
    start = {"image": "win11", field: value}
    annotated = {"metadata": {"annotations": {f"ggnet/{field}": "x"}}}
    yield "PUT", http.put(f"{PREFIX}/machines/pc07", json=body)
    patch = {key: body[key] for key in ("metadata", "status") if key in body}
    yield "PATCH", http.patch(f"{PREFIX}/machines/pc07", json=patch)
    yield "apply", http.post(f"{PREFIX}/apply", json={"items": [body]})
    new = json.dumps(body)
    for old, fresh in (("pc07", "pc11"), ("00:07", "00:11"), ("0.57", "0.61"), ("claimed", "pc11")):
        new = new.replace(old, fresh)
    yield "POST", http.post(f"{PREFIX}/machines", json=json.loads(new))
    yield "start", http.post(f"{PREFIX}/sessions/pc07/start", json=start)
    yield "annotation", http.patch(f"{PREFIX}/machines/pc07", json=annotated)


@pytest.mark.parametrize("role", [OPERATOR, ADMIN])
@pytest.mark.parametrize("field", [*CLAIMS, "status"])
def test_what_only_the_server_says_is_not_believed_of_anybody(rooms: Served, role: Role, field: str) -> None:
    value = STATUS if field == "status" else CLAIMS[field]
    with rooms.acting("mallory", role) as http:
        before = http.get(f"{PREFIX}/machines/pc07").json()
        for way, got in claims(http, field, value):
            assert got.status_code in ((422,) if way in ("start", "annotation") else (200, 201)), (way, got.text)
            for name in ("pc07", "pc11"):
                after = http.get(f"{PREFIX}/machines/{name}").json()
                if after.get("error_code") == "not_found":
                    continue
                assert after["metadata"].get(field) != value or field == "status"
                assert after.get("status", {}).get("phase") != "Active"
                assert after["metadata"]["managedBy"] == "api:mallory"
        assert http.get(f"{PREFIX}/machines/pc07").json()["metadata"]["uid"] == before["metadata"]["uid"]


@pytest.mark.parametrize("version", ["999999", 999999, "1", "0", "-1", "x", None, [], {"$gt": 0}, "9" * 40])
def test_a_claimed_version_is_asked_for_and_never_set(rooms: Served, version: Any) -> None:
    body = manifest(machine(7).replace("address", "hostname: versioned, address"))
    body["metadata"]["resourceVersion"] = version
    with rooms.acting("mallory", OPERATOR) as http:
        for got in (http.put(f"{PREFIX}/machines/pc07", json=body), http.post(f"{PREFIX}/apply", json=body)):
            assert got.status_code in (200, 412, 422), got.text
        newest = http.get(f"{PREFIX}/machines").json()["metadata"]["resourceVersion"]
        assert 1 < http.get(f"{PREFIX}/machines/pc07").json()["metadata"]["resourceVersion"] <= newest < 10_000


# by a binding, a scope, a role


def test_nobody_but_an_administrator_binds_anybody(rooms: Served) -> None:
    wanted = {"user": "ada", "verbs": ["write"], "labelSelector": "room=lab"}
    with rooms.http as admin:
        standing = admin.get(f"{PREFIX}/bindings").json()
        for user, role in (("ada", VIEWER), ("bob", OPERATOR), ("eve", OPERATOR), ("nobody", VIEWER)):
            with rooms.acting(user, role) as http:
                refused(http.post(f"{PREFIX}/bindings", json=wanted))
                refused(http.post(f"{PREFIX}/bindings", json={"nonsense": 1}))
                refused(http.get(f"{PREFIX}/bindings"))
                for one in standing["items"]:
                    refused(http.delete(f"{PREFIX}/bindings/{one['id']}", params={"force": "true"}))
        with rooms.acting("root", ADMIN, "write") as key:
            refused(key.post(f"{PREFIX}/bindings", json=wanted))
        assert admin.get(f"{PREFIX}/bindings").json() == standing


def test_a_viewer_changes_nothing_whatever_the_way(rooms: Served) -> None:
    with rooms.http as admin, rooms.acting("nobody", VIEWER) as http:
        before = [admin.get(f"{PREFIX}/{kinds}").json() for kinds in ("machines", "sessions", "images", "networks")]
        for kinds, name, text in (
            ("machines", "pc07", machine(7)),
            ("sessions", "pc07", session(7)),
            ("images", "win11", IMAGE),
            ("networks", "main", NETWORK),
        ):
            for query in ({}, {"dryRun": "true"}, {"force": "true"}):
                refused(http.post(f"{PREFIX}/{kinds}", content=text, params=query))
                refused(http.put(f"{PREFIX}/{kinds}/{name}", content=text, params=query))
                refused(http.patch(f"{PREFIX}/{kinds}/{name}", json={"spec": {}}, params=query))
                refused(http.delete(f"{PREFIX}/{kinds}/{name}", params=query))
                refused(http.post(f"{PREFIX}/apply", content=text, params=query))
            refused(http.post(f"{PREFIX}/{kinds}/{name}/suspend"))
            refused(http.post(f"{PREFIX}/{kinds}/{name}/resume"))
        refused(http.post(f"{PREFIX}/sessions/pc07/start", json={"image": "win11"}))
        refused(http.post(f"{PREFIX}/sessions/pc07/stop"))
        refused(http.post(f"{PREFIX}/revisions/abcd/approve"))
        assert [admin.get(f"{PREFIX}/{k}").json() for k in ("machines", "sessions", "images", "networks")] == before


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/bindings",
        "/api/v1//bindings",
        "/api/v1/bindings/",
        "/API/v1/bindings",
        "/api/v1/%62indings",
        "/api/v1/machines/../bindings",
        "/healthz/../api/v1/bindings",
        "/healthz%2f..%2fapi/v1/bindings",
        "/api/v1/bindings;x=/healthz",
        "/api/v1/bindings?/healthz",
    ],
)
def test_no_spelling_of_an_address_goes_round_the_table(shared: Served, path: str) -> None:
    with shared.acting("nobody", VIEWER) as http:
        got = http.build_request("GET", shared.url + path)
        assert http.send(got).status_code in (403, 404)


@pytest.mark.parametrize(
    "header",
    ["X-HTTP-Method-Override", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-User", "X-Role"],
)
def test_no_header_makes_another_request_of_one(rooms: Served, header: str) -> None:
    with rooms.acting("nobody", VIEWER) as http:
        for value in ("DELETE", "/api/v1/bindings", "admin", "ADMIN"):
            assert "createdBy" not in http.get(f"{PREFIX}/machines/pc07", headers={header: value}).text
            refused(http.post(f"{PREFIX}/sessions/pc07/stop", headers={header: value}))
