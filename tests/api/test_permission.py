"""The table of permissions against the routes, the document, and the door itself."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api.access import SOCKET, TABLE, address
from api.cli import failure
from api.deps import OPEN
from api.metrics import PREFIX
from api.roles import Role
from api.verbs import Answer, Verb, answer
from controller.core.observed import Observed
from controller.core.snapshot import dumps
from controller.ports.permission import Binding
from manifests.kinds import PLURALS
from tests.api.people import api_key, ask, login, user
from tests.api.served import SITE, Served, machine, serving, session, several
from tests.api.test_doors_are_closed import MANUAL, addresses, application, flat
from tests.api.warm import Warm

VIEWER, OPERATOR, ADMIN = Role.VIEWER, Role.OPERATOR, Role.ADMIN
WORDS = {Answer.ALLOWED: "yes", Answer.BOUND: "bindings", Answer.DENIED: "no"}
SHARED = (
    "apiVersion: ggnet/v1\nkind: Image\nmetadata: {name: win12, labels: {shared: 'yes'}}\nspec: {source: {path: w.raw}}\n"
)


@pytest.fixture
def people(tmp_path: Path, warm: Warm) -> Iterator[Served]:
    """Two rooms with a machine each and a session each; requests say who asks."""
    with serving(tmp_path, warm, announced=True, registration="open") as served:
        served.lead()
        served.observe(dumps(Observed(complete=frozenset({"pool", "lio", "tftp", "dhcp"}))))
        served.apply(several(SITE, SHARED, session(7, state="stopped"), session(8, state="stopped")))
        yield served


# the table


def test_every_route_has_a_row_and_every_row_a_route(tmp_path: Path) -> None:
    app = application(tmp_path)
    found: list[tuple[str, str]] = []
    for route in flat(app.routes):
        methods = getattr(route, "methods", None) or {"SOCKET"}
        found += [address(method, str(getattr(route, "path", ""))) for method in methods - {"HEAD"}]
    assert len(found) == len(set(found)), "two routes would share a row"
    assert set(found) == set(TABLE)


def test_what_anyone_may_use_is_what_is_open(tmp_path: Path) -> None:
    anyone = {path for (_, path), verb in TABLE.items() if verb is Verb.ANYONE}
    assert anyone == {path.removeprefix(PREFIX) for path in OPEN | MANUAL}


def test_the_document_says_what_the_table_says() -> None:
    """The page is written out route by route, so that a changed verb or role shows as a changed line."""
    page = (Path(__file__).parents[2] / "docs/permission.md").read_text()
    told = {
        tuple(row) for row in re.findall(r"^\| `(\w+) (\S+)` \| (\w+) \| (\w+) \| (\w+) \| (\w+) \|$", page, re.MULTILINE)
    }
    kinds = rf"/({'|'.join(PLURALS)})(?=/{{name}}(?!/start|/stop|/commit)|$)"
    known = {
        (
            "WebSocket" if method == SOCKET else method,
            re.sub(kinds, "/{kinds}", path),
            verb.value,
            *(WORDS[answer(verb, role)] for role in Role),
        )
        for (method, path), verb in TABLE.items()
    }
    assert told == known


def test_a_route_that_nobody_put_into_the_table_is_closed_to_all(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm, announced=True) as served:
        served.app[0].get(f"{PREFIX}/forgotten")(lambda: "secret")
        for role in Role:
            with served.acting("x", role) as http:
                refused = http.get(f"{PREFIX}/forgotten")
                assert (refused.status_code, refused.json()["error_code"]) == (403, "forbidden")
                assert "secret" not in refused.text


# every route, every role


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    return addresses(application(tmp_path_factory.mktemp("routes")))


def _requests(routes: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Method, template, path of something that is there; a watch is asked what it refuses, or it would never end."""
    names = {"machines": "pc07", "sessions": "pc07", "networks": "main", "images": "win11"}
    for method, template in routes:
        kind = template.removeprefix(f"{PREFIX}/").partition("/")[0]
        path = re.sub(r"\{.*?\}", names.get(kind, "none"), template)
        yield method, template, path + ("?since=999999" if template.endswith("/watch") else "")


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("bound", [False, True], ids=["unbound", "bound"])
def test_every_route_answers_every_role_as_the_table_says(
    people: Served, routes: list[tuple[str, str]], role: Role, bound: bool
) -> None:
    """Allowed is anything but 401 and 403: the request may still be refused for what it says."""
    if bound:
        people.bind("ada", "write", "delete", "suspend", "force")
    seen: set[Answer] = set()
    with people.acting("ada", role) as http:
        for method, template, path in _requests(routes):
            said = answer(TABLE[address(method, template)], role)
            got = http.request(method, path, content="{" if method in ("POST", "PUT", "PATCH") else None)
            refused = said is Answer.DENIED or (said is Answer.BOUND and not bound)
            network_or_image = re.search("/(networks|images)/", path) and said is Answer.BOUND and method == "DELETE"
            suspends = re.search("/(networks|images)/.*/(suspend|resume)", path) and said is Answer.BOUND
            assert (got.status_code == 403) == bool(refused or network_or_image or suspends), (method, path, got.text)
            assert got.status_code != 401
            if got.status_code == 403:
                assert got.json()["error_code"] == "forbidden"
                assert "ADMIN" in got.json()["detail"]
            seen.add(said)
    assert seen == {VIEWER: set(Answer), OPERATOR: {Answer.ALLOWED, Answer.DENIED}, ADMIN: {Answer.ALLOWED}}[role]


def test_an_api_key_goes_no_further_than_its_scopes_and_its_user(people: Served) -> None:
    change = {"spec": {"hostname": "one"}}

    def tried(role: Role, *scopes: str) -> list[int]:
        with people.acting("key", role, *scopes) as http:
            got = [http.get(f"{PREFIX}/machines/pc07"), http.patch(f"{PREFIX}/machines/pc07", json=change)]
            return [one.status_code for one in (*got, http.get(f"{PREFIX}/bindings"))]

    assert tried(ADMIN, "read") == [200, 403, 403]
    assert tried(ADMIN, "write") == [200, 200, 403]
    assert tried(ADMIN, "admin") == [200, 200, 200]
    assert tried(OPERATOR, "admin") == [200, 200, 403]
    assert tried(VIEWER, "read", "write", "admin") == [200, 403, 403]
    with people.acting("key", ADMIN, "read") as http:
        assert "scope write" in http.patch(f"{PREFIX}/machines/pc07", json=change).json()["detail"]


def test_a_binding_gives_a_key_no_more_than_its_scopes(people: Served) -> None:
    people.bind("ada", "start", "stop")
    with people.acting("ada", VIEWER, "read") as http:
        assert http.post(f"{PREFIX}/sessions/pc07/start", json={}).status_code == 403
    with people.acting("ada", VIEWER, "write") as http:
        assert http.post(f"{PREFIX}/sessions/pc07/start", json={}).status_code == 200


# the attendant


def test_an_attendant_starts_and_stops_one_room_and_reads_the_rest(people: Served) -> None:
    people.bind("ada", "start", "stop")
    with people.acting("ada", VIEWER) as http:
        for verb, state in (("start", "running"), ("stop", "stopped")):
            assert http.post(f"{PREFIX}/sessions/pc07/{verb}").json()["spec"]["state"] == state
            refused = http.post(f"{PREFIX}/sessions/pc08/{verb}")
            assert (refused.status_code, refused.json()["error_code"]) == (403, "forbidden")
            assert f"'{verb}' for Session/pc08" in refused.json()["detail"]
            assert "win11" not in refused.text
        assert http.get(f"{PREFIX}/sessions/pc08").status_code == 200
        assert len(http.get(f"{PREFIX}/machines").json()["items"]) == 2
        for method, path in (("PATCH", "machines/pc07"), ("DELETE", "sessions/pc07"), ("POST", "machines/pc07/suspend")):
            assert http.request(method, f"{PREFIX}/{path}", json={}).status_code == 403


def test_an_attendant_makes_the_first_session_of_a_machine(people: Served) -> None:
    people.apply(several(machine(9), machine(10, room="lab")))
    people.bind("ada", "start", "stop")
    with people.acting("ada", VIEWER) as http:
        assert http.post(f"{PREFIX}/sessions/pc09/start", json={"image": "win11"}).status_code == 200
        assert http.post(f"{PREFIX}/sessions/pc10/start", json={"image": "win11"}).status_code == 403


def test_a_narrowed_attendant_sees_one_room(people: Served) -> None:
    people.apply(machine(9))
    people.bind("ada", "start", "stop", narrows=True)
    people.bind("ada", "read", selector="shared=yes")
    with people.acting("ada", VIEWER) as http:

        def names(kinds: str) -> list[str]:
            return [one["metadata"]["name"] for one in http.get(f"{PREFIX}/{kinds}").json()["items"]]

        assert {kinds: names(kinds) for kinds in PLURALS} == {
            "networks": [],
            "machines": ["pc07", "pc09"],
            "images": ["win12"],
            "sessions": ["pc07"],
        }
        for path in ("machines/pc08", "sessions/pc08", "images/win11", "networks/main", "machines/pc08/why"):
            outside, absent = http.get(f"{PREFIX}/{path}"), http.get(f"{PREFIX}/{re.sub('pc08|win11|main', 'zz', path)}")
            assert outside.status_code == absent.status_code == 404
            assert re.sub("pc08|win11|main", "zz", outside.json()["detail"]) == absent.json()["detail"]
        for path in ("revisions", "../../metrics"):
            assert http.get(f"{PREFIX}/{path}").status_code == 403
        assert http.post(f"{PREFIX}/sessions/pc08/stop").status_code == 404
        assert http.post(f"{PREFIX}/sessions/pc07/start", json={"image": "win12"}).status_code == 200
        assert http.post(f"{PREFIX}/sessions/pc09/start", json={"image": "win12"}).status_code == 200


def test_a_narrowed_operator_operates_what_is_bound_alone(people: Served) -> None:
    people.bind("bob", "write", narrows=True)
    with people.acting("bob", OPERATOR) as http:
        assert http.patch(f"{PREFIX}/machines/pc07", json={"spec": {"hostname": "one"}}).status_code == 200
        assert http.patch(f"{PREFIX}/machines/pc08", json={"spec": {"hostname": "two"}}).status_code == 404
        assert http.delete(f"{PREFIX}/machines/pc07").status_code == 403
        assert http.post(f"{PREFIX}/revisions/abcd/approve").status_code == 403


def test_an_administrator_is_never_narrowed(people: Served) -> None:
    people.bind("root", "read", narrows=True)
    with people.acting("root", ADMIN) as http:
        assert len(http.get(f"{PREFIX}/machines").json()["items"]) == 2
        assert http.patch(f"{PREFIX}/machines/pc08", json={"spec": {"hostname": "two"}}).status_code == 200


def test_plans_drift_and_events_tell_a_narrowed_user_of_the_own_room(people: Served) -> None:
    people.apply(several(session(7), session(8)))
    people.bind("ada", "read", narrows=True)
    people.report("Image/win11", {"observedGeneration": 1, "phase": "Ready", "version": 1, "size": 1 << 30})
    people.tell("Machine/pc07", "Session/pc08", "Machine/pc08", "Session/pc07")
    with people.http as all_of_it, people.acting("ada", VIEWER) as http:
        for method, path in (("GET", "drift"), ("POST", "plan"), ("GET", "events"), ("GET", "events?object=Machine/pc08")):
            whole, part = all_of_it.request(method, f"{PREFIX}/{path}"), http.request(method, f"{PREFIX}/{path}")
            assert (whole.status_code, part.status_code) == (200, 200), part.text
            assert "pc08" in whole.text
            assert not re.search("pc08|10.77.0.58", part.text)
        assert "pc07" in http.get(f"{PREFIX}/drift").text
        assert "pc07" in http.get(f"{PREFIX}/events").text
        told = http.get(f"{PREFIX}/sessions/pc07/why").json()["why"]
        assert "win11" not in told
        assert http.post(f"{PREFIX}/plan", content=machine(8)).status_code == 403


def test_a_narrowed_watch_tells_what_comes_into_sight_and_what_leaves_it(people: Served) -> None:
    people.bind("ada", "read", narrows=True)
    found: list[tuple[str, str]] = []
    with (
        people.http as admin,
        people.acting("ada", VIEWER) as http,
        http.stream("GET", f"{PREFIX}/watch", params={"kinds": "machines"}) as stream,
    ):
        lines = stream.iter_lines()
        next(lines)
        for number, room in ((8, "lab"), (8, "main"), (7, "main"), (7, "lab"), (7, "lab"), (9, "main")):
            text = machine(number, room=room).replace("address", f"hostname: h{number}, address")
            admin.put(f"{PREFIX}/machines/pc{number:02}", content=text).raise_for_status()
        for line in lines:
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                found.append((event["type"], event["object"]["metadata"]["name"]))
                if found[-1] == ("ADDED", "pc09"):
                    break
    assert found == [("ADDED", "pc08"), ("MODIFIED", "pc07"), ("DELETED", "pc07"), ("ADDED", "pc09")]


def test_a_narrowed_watch_hears_of_its_own_deletions_alone(people: Served) -> None:
    people.bind("ada", "read", narrows=True)
    with people.http as admin, people.acting("ada", VIEWER) as http:
        since = http.get(f"{PREFIX}/machines").json()["metadata"]["resourceVersion"]
        for name in ("pc08", "pc07"):
            for kinds, kind in (("sessions", "Session"), ("machines", "Machine")):
                admin.delete(f"{PREFIX}/{kinds}/{name}").raise_for_status()
                people.gone(f"{kind}/{name}")
        admin.get(f"{PREFIX}/machines")
        found: list[tuple[str, str, str]] = []
        with http.stream("GET", f"{PREFIX}/watch", params={"since": since}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    found.append((event["type"], event["object"]["kind"], event["object"]["metadata"]["name"]))
                    if found[-1][:2] == ("DELETED", "Machine"):
                        break
    assert {name for _, _, name in found} == {"pc07"}
    assert [one for one in found if one[0] == "DELETED"] == [("DELETED", "Session", "pc07"), ("DELETED", "Machine", "pc07")]


def _streamed(site: Served, access: str, change: Callable[[], None]) -> list[str]:
    """What this person's watch tells, to its end, of the machines that are changed after ``change``: their names."""
    with site.signed(Authorization=f"Bearer {access}") as http, http.stream("GET", f"{PREFIX}/watch") as stream:
        lines = stream.iter_lines()
        next(lines)
        change()
        for number, room in ((8, "lab"), (7, "main")):
            text = machine(number, room=room).replace("address", f"hostname: h{number}, address")
            ask(site, "PUT", f"/machines/pc{number:02}", site.token, content=text).raise_for_status()
        _remove(site, "ada")
        events = (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))
        return [str(event["object"]["metadata"]["name"]) for event in events]


def _remove(site: Served, name: str) -> None:
    ask(site, "DELETE", f"/users/{name}", site.token).raise_for_status()


def test_a_watch_tells_nothing_more_once_its_account_is_gone(site: Served) -> None:
    user(site)
    user(site, "eve")
    for one in ("ada", "eve"):
        site.bind(one, "read", narrows=True)
    eve = login(site, "eve")
    gone = _streamed(site, eve.access, lambda: _remove(site, "eve"))
    assert gone == []


def test_a_watch_of_who_was_an_administrator_is_narrowed_like_all_else(site: Served) -> None:
    user(site, role="ADMIN")
    ada = login(site)

    def demote() -> None:
        ask(site, "PATCH", "/users/ada", site.token, json={"role": "VIEWER"}).raise_for_status()
        site.bind("ada", "read", narrows=True)

    assert _streamed(site, ada.access, demote) == ["pc07"]


def test_a_person_who_logs_in_and_a_key_of_theirs_are_bound_alike(site: Served) -> None:
    user(site)
    site.bind("ada", "start", "stop", narrows=True)
    site.bind("ada", "read", selector="shared=yes", narrows=True)
    site.apply(SHARED)
    person = login(site)
    for one, status in ((person, 200), (api_key(person, "read", "write"), 200), (api_key(person, "read"), 403)):
        started = one.ask("POST", "/sessions/pc07/start", json={"image": "win12"})
        assert started.status_code == status, started.text
        assert one.ask("GET", "/machines/pc07").status_code == 200
        assert one.ask("GET", "/machines/pc08").status_code == 404
        assert one.ask("GET", "/bindings").status_code == 403
        assert one.ask("GET", "/users").status_code == 403
    assert ask(site, "DELETE", "/users/ada", site.token).status_code == 204
    user(site)
    assert login(site).ask("GET", "/machines/pc08").status_code == 200, "the next of that name is somebody else"


def test_a_key_has_no_more_than_its_owner_is_bound_to_now(site: Served) -> None:
    user(site)
    person = login(site)
    wanted = {"name": "ci", "scopes": ["write"]}
    assert person.ask("POST", "/tokens", json=wanted).status_code == 403, "a viewer who is bound to nothing"
    binding = site.bind("ada", "stop")
    assert person.ask("POST", "/tokens", json={**wanted, "scopes": ["admin"]}).status_code == 403
    key = api_key(person, "write")
    assert key.ask("POST", "/sessions/pc07/start", json={"image": "win11"}).status_code == 403
    assert key.ask("POST", "/bulk/stop", json={"labelSelector": "room=main"}).status_code == 200
    ask(site, "DELETE", f"/bindings/{binding}", site.token).raise_for_status()
    assert key.ask("POST", "/bulk/stop", json={"labelSelector": "room=main"}).status_code == 403


# bindings themselves


def test_a_binding_is_made_shown_and_removed(people: Served) -> None:
    user(people)
    with people.http as http:
        nobody = {"user": "nobody", "verbs": ["stop"], "labelSelector": "room=main"}
        assert http.post(f"{PREFIX}/bindings", json=nobody).status_code == 404
        wanted = {"user": "ada", "verbs": ["stop", "start", "stop"], "labelSelector": "room=main"}
        made = http.post(f"{PREFIX}/bindings", json=wanted)
        assert made.status_code == 201
        assert made.json() == {**made.json(), "verbs": ["start", "stop"], "narrows": False, "createdBy": "admin"}
        assert http.get(f"{PREFIX}/bindings", params={"user": "ada"}).json() == {"items": [made.json()]}
        assert http.get(f"{PREFIX}/bindings", params={"user": "eve"}).json() == {"items": []}
        assert http.delete(f"{PREFIX}/bindings/{made.json()['id']}").json() == made.json()
        assert http.delete(f"{PREFIX}/bindings/{made.json()['id']}").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"labelSelector": ""},
        {"labelSelector": "room!=lab"},
        {"labelSelector": "!gpu"},
        {"labelSelector": "room notin (lab)"},
        {"labelSelector": "room in (main,)"},
        {"labelSelector": "room=main,"},
        {"verbs": []},
        {"verbs": ["administer"]},
        {"verbs": ["approve"]},
        {"verbs": ["*"]},
        {"user": ""},
        {"user": "Ada"},
        {"user": "a b"},
        {"user": "a\nb"},
        {"narrows": "perhaps"},
        {"id": "mine"},
        {"createdBy": "eve"},
    ],
    ids=str,
)
def test_a_binding_that_makes_no_sense_is_refused_by_field(people: Served, wrong: dict[str, object]) -> None:
    wanted = {"user": "ada", "verbs": ["start"], "labelSelector": "room=main", **wrong}
    user(people)
    with people.http as http:
        refused = http.post(f"{PREFIX}/bindings", json=wanted)
        accepts_empty_value = wrong == {"labelSelector": "room in (main,)"}
        assert refused.status_code == (201 if accepts_empty_value else 422), refused.text
        if not accepts_empty_value:
            assert next(iter(wrong)) in refused.json()["errors"][0]["field"]


def test_the_last_binding_that_narrows_is_removed_by_force_alone(people: Served) -> None:
    made = people.bind("ada", "read", narrows=True)
    with people.http as http, people.acting("ada", VIEWER) as hers:
        refused = http.delete(f"{PREFIX}/bindings/{made}")
        assert (refused.status_code, refused.json()["error_code"]) == (409, "guarded")
        assert hers.get(f"{PREFIX}/machines/pc08").status_code == 404
        assert http.delete(f"{PREFIX}/bindings/{made}", params={"force": "true"}).status_code == 200
        assert hers.get(f"{PREFIX}/machines/pc08").status_code == 200


def test_a_change_counts_at_once_here_and_soon_when_made_elsewhere(people: Served) -> None:
    def starts(http: httpx.Client) -> bool:
        return http.post(f"{PREFIX}/sessions/pc07/start", json={}).status_code == 200

    with people.http as admin, people.acting("ada", VIEWER) as http:
        assert not starts(http)
        made = people.bind("ada", "start")
        assert starts(http)
        admin.delete(f"{PREFIX}/bindings/{made}").raise_for_status()
        assert not starts(http)
        people.bound_elsewhere(Binding("b" * 36, "ada", ("start",), "room=main", False, people.now(), "other"))
        ends = time.monotonic() + 30
        while not starts(http):
            assert time.monotonic() < ends
            time.sleep(0.1)


# the command


def test_the_command_binds_lists_and_unbinds(site: Served) -> None:
    user(site)
    made = site.ggnet("binding", "create", "ada", "--selector", "room=main", "--verbs", "start,stop", "--narrow")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("ada may start, stop where room=main (")
    listed = site.ggnet("binding", "list", "ada").stdout.splitlines()
    assert listed[1].split()[1:5] == ["ada", "start,stop", "room=main", "yes"]
    number = listed[1].split()[0]
    assert json.loads(site.ggnet("binding", "list", "-o", "json").stdout)["items"][0]["id"] == number
    held = site.ggnet("binding", "delete", number)
    assert (held.returncode, "--force" in held.stderr, "PC" in held.stderr) == (failure.GUARDED, True, False)
    assert site.ggnet("binding", "delete", number, "--force").returncode == 0
    assert site.ggnet("binding", "delete", number).returncode == failure.NOT_FOUND
    assert site.ggnet("binding", "create", "ada", "--selector", "!x", "--verbs", "start").returncode == failure.INVALID
    assert "no bindings" in site.ggnet("binding", "list").stderr
