"""The audit log at the doors: each write leaves one row an object, and only administrators read it."""

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from api.app import create
from api.auth.identity import identity
from api.deps import Door, Role
from api.moments import parse
from api.recording import entry, failed
from controller.adapters.clock import SystemClock
from controller.adapters.hints import LocalHints
from controller.adapters.store import SqlStore
from controller.bootstrap import doors
from controller.ports.audit import Actor, Asked
from controller.settings import Settings
from tests.api.people import PASSWORD, ask, login, renew, try_login, user
from tests.api.served import IMAGE, NETWORK, Served, asking, machine, several
from tests.contracts.stores import NOW, later


def audited(door: Served, **asked: Any) -> list[Any]:
    """The oldest first."""
    with door.http as http:
        answer = http.get("/api/v1/audit", params={"limit": 1000, **asked})
        assert answer.status_code == 200, answer.text
        found: list[Any] = answer.json()["items"]
    return found[::-1]


WRITES: list[tuple[str, str, Any, dict[str, str], list[tuple[str, str]]]] = [
    (
        "POST",
        "/apply",
        several(NETWORK, IMAGE, machine(7), machine(8)),
        {},
        [("create", "Image/win11"), ("create", "Machine/pc07"), ("create", "Machine/pc08"), ("create", "Network/main")],
    ),
    ("POST", "/apply", several(NETWORK, machine(7)), {}, []),
    ("POST", "/apply", several(machine(5), machine(6)), {"dryRun": "true"}, []),
    ("POST", "/machines", machine(9), {}, [("create", "Machine/pc09")]),
    ("PUT", "/machines/pc10", machine(10), {}, [("create", "Machine/pc10")]),
    ("PUT", "/machines/pc09", machine(9, room="lab"), {}, [("update", "Machine/pc09")]),
    ("PATCH", "/machines/pc09", '{"spec": {"hostname": "one"}}', {}, [("update", "Machine/pc09")]),
    ("PATCH", "/machines/pc09", '{"spec": {"hostname": "one"}}', {}, []),
    ("PATCH", "/machines/pc09", '{"spec": {"nonsense": 1}}', {}, []),
    ("POST", "/machines/pc09/suspend", None, {}, [("annotate", "Machine/pc09")]),
    ("POST", "/machines/pc09/resume", None, {}, [("annotate", "Machine/pc09")]),
    ("POST", "/sessions/pc07/start", '{"image": "win11"}', {}, [("create", "Session/pc07")]),
    ("POST", "/sessions/pc07/commit", "{}", {}, []),  # nothing is kept of it; what is taken: test_commits.py
    ("DELETE", "/sessions/pc07/commit", None, {}, []),
    ("POST", "/sessions/pc07/stop", None, {}, [("update", "Session/pc07")]),
    ("POST", "/sessions/pc07/stop", None, {"force": "true"}, [("update", "Session/pc07")]),
    (
        "POST",
        "/bulk/start",
        '{"labelSelector": "room=main", "image": "win11"}',
        {},
        [("create", "Session/pc08"), ("create", "Session/pc10"), ("update", "Session/pc07")],
    ),
    ("POST", "/bulk/stop", '{"labelSelector": "room=main"}', {}, [("update", f"Session/pc{n}") for n in ("07", "08", "10")]),
    (
        "DELETE",
        "/sessions",
        None,
        {"labelSelector": "!gpu", "force": "true"},
        [("delete", f"Session/pc{n}") for n in ("07", "08", "10")],
    ),
    ("DELETE", "/machines/pc10", None, {}, [("delete", "Machine/pc10")]),
    ("DELETE", "/machines/pc09", None, {"force": "true"}, [("delete", "Machine/pc09")]),
    ("POST", "/machines/pc10/restore", None, {}, [("update", "Machine/pc10")]),
    ("POST", "/revisions/abcdef/approve", None, {}, [("approve", "Revision/abcdef")]),
]


def test_every_write_leaves_one_row_an_object_with_who_where_and_which_request(door: Served) -> None:
    door.record("abcdef", "guarded")
    tried = set()
    with door.http as http:
        for number, (method, path, content, params, wanted) in enumerate(WRITES):
            seen = len(audited(door))
            http.request(
                method, f"/api/v1{path}", content=content, params=params, headers={"X-Request-ID": f"request-{number}"}
            )
            rows = audited(door)[seen:]
            assert [(row["action"], row["object"]) for row in rows] == wanted, (method, path, params)
            assert {(row["who"], row["address"], row["requestId"]) for row in rows} <= {
                ("api:admin", "127.0.0.1", f"request-{number}")
            }
            tried.add((method, re.sub("/(machines|sessions)", "/{kinds}", re.sub(r"pc\d\d|abcdef", "{}", path))))
        door.gone("Machine/pc09")
        http.post("/api/v1/machines/pc09/restore").raise_for_status()
        assert [(row["who"], row["action"]) for row in audited(door, object="Machine/pc09")][-3:] == [
            ("api:admin", "delete"),
            ("controller", "remove"),
            ("api:admin", "restore"),
        ]
        verdict = http.get("/api/v1/audit/verify").json()
    assert verdict["whole"] is True
    known = {
        (method.upper(), re.sub("/(machines|sessions|images|networks)", "/{kinds}", re.sub(r"\{\w+\}", "{}", path[7:])))
        for path, item in httpx.get(f"{door.url}/openapi.json", trust_env=False, timeout=60).json()["paths"].items()
        for method in item
        if path.startswith("/api/v1/") and method != "get"
    }
    elsewhere = ("auth", "users", "tokens", "webhooks", "bindings", "uploads")
    no_objects = {(method, path) for method, path in known if path.split("/")[1] in elsewhere}
    assert known - tried - no_objects == {("POST", "/plan")}, "a route that writes nothing, and no other"


def test_a_row_has_what_differs_and_no_secret(door: Served) -> None:
    door.apply(several(NETWORK, machine(7)))
    with door.http as http:
        change = {
            "spec": {"hostname": "one"},
            "metadata": {"annotations": {"site/api-token": "hunter2", "url": "x://a:b@c"}},
        }
        http.patch("/api/v1/machines/pc07", json=change).raise_for_status()
    (row,) = audited(door, action="update")
    assert row["before"]["spec"] == {"hostname": None}
    assert row["after"]["spec"] == {"hostname": "one"}
    assert row["after"]["metadata"]["annotations"] == {"site/api-token": "***", "url": "x://***@c"}
    assert (row["count"], row["outcome"]) == (1, "ok")


def test_a_commit_is_a_row_an_object_by_its_source(door: Served) -> None:
    door.commit(several(NETWORK, machine(7)))
    assert [(row["who"], row["object"]) for row in audited(door)] == [
        ("git:infra", "Machine/pc07"),
        ("git:infra", "Network/main"),
    ]


def test_pages_hold_every_row_once_and_filters_choose(site: Served) -> None:
    numbers, after = list[int](), ""
    with site.http as http:
        while True:
            page = http.get("/api/v1/audit", params={"limit": 3, "continue": after}).json()
            numbers += [row["number"] for row in page["items"]]
            after = page["metadata"].get("continue", "")
            if not after:
                break
    assert numbers == [4, 3, 2, 1]
    assert [row["object"] for row in audited(site, object="Machine/pc07")] == ["Machine/pc07"]
    assert len(audited(site, who="admin")) == len(audited(site, who="api:admin", since="2h")) == 4
    assert audited(site, who="nobody") == audited(site, action="delete") == []


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/audit", {"since": "yesterday"}),
        ("/audit", {"since": "99999-01-01"}),
        ("/audit", {"continue": "%%%"}),
        ("/audit", {"continue": "LTE="}),
        ("/audit", {"limit": "0"}),
        ("/audit", {"who": "x" * 300}),
        ("/audit/verify", {"head": "abc"}),
        ("/audit/verify", {"head": "Z" * 64}),
    ],
)
def test_a_question_that_makes_no_sense_is_a_problem_that_says_so(door: Served, path: str, params: dict[str, str]) -> None:
    with door.http as http:
        answer = http.get(f"/api/v1{path}", params=params)
    assert answer.status_code in (400, 422)
    assert next(iter(params)) in answer.json()["detail"]


@pytest.fixture
def behind(sqlite_url: str, tmp_path: Path) -> Door:
    """What the routes share, over a real store, with no socket."""
    store = SqlStore(sqlite_url)
    settings = Settings(state_dir=tmp_path)
    clock = SystemClock()
    ours, outbox = identity(store, store, clock, settings, 4), doors.outbox(settings, store)
    return Door(store, clock, settings, "x" * 43, LocalHints(), ours, outbox, doors.uploads(settings, store))


@pytest.mark.anyio
async def test_only_administrators_read_it(behind: Door) -> None:
    app = create(behind)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as http:
        for role in Role:
            app.state.identify = asking("vera", role)
            for path in ("/api/v1/audit", "/api/v1/audit/verify"):
                answer = await http.get(path)
                wanted = (200, None) if role is Role.ADMIN else (403, "forbidden")
                assert (answer.status_code, answer.json().get("error_code")) == wanted
    await behind.store.close()


@pytest.mark.anyio
async def test_what_happens_at_the_door_is_told_and_a_flood_in_few_rows(behind: Door) -> None:
    ada = Actor("api:ada", "10.0.0.9", "req")
    after = {"password": "hunter2"}
    await behind.store.note([entry(behind, ada, "login")])
    await behind.store.note([entry(behind, Actor("api:root", "10.0.0.1"), "user-change", "ada", after=after)])
    for number in range(1000):
        await failed(behind, Actor("api:ada", "10.6.6.6", str(number)), "login", "failed")
    for number in range(200):
        await failed(behind, Actor(f"api:guess{number}\n", "10.6.6.6"), "login", "failed")
    rows = list(reversed(await behind.store.audit(Asked(limit=1000))))
    assert [(row.who, row.action, row.object) for row in rows[:2]] == [
        ("api:ada", "login", None),
        ("api:root", "user-change", "User/ada"),
    ]
    assert rows[1].after == {"password": "***"}
    assert len(rows) < 60
    theirs = [row for row in rows if row.who == "api:ada" and row.outcome == "failed"]
    assert [row.count for row in theirs] == [1, 1, 2, 4, 8, 16, 32, 64, 128, 256]
    others = [row for row in rows if row.who == "others"]
    assert sum(row.count for row in others) >= 90
    assert (await behind.store.verify_audit()).findings == []
    await behind.store.close()


def test_the_command_shows_the_rows_and_what_differs(site: Served) -> None:
    with site.http as http:
        http.patch("/api/v1/machines/pc07", json={"spec": {"hostname": "one"}}).raise_for_status()
    shown = site.ggnet("audit")
    assert shown.returncode == 0, shown.stderr
    head, *lines = shown.stdout.splitlines()
    assert head.split() == ["NUMBER", "AGE", "WHO", "FROM", "ACTION", "OBJECT", "OUTCOME", "CHANGE"]
    assert len(lines) == 5
    cells = lines[-1].split()
    assert (cells[0], *cells[2:]) == ("5", "api:admin", "127.0.0.1", "update", "Machine/pc07", "ok", "spec.hostname:", "one")
    assert len(site.ggnet("audit", "--object", "Machine/pc07", "--who", "admin").stdout.splitlines()) == 3
    assert len(site.ggnet("audit", "--object", "pc/pc07", "--who", "admin").stdout.splitlines()) == 3
    assert site.ggnet("audit", "--object", "pc07").returncode == 2
    as_json = json.loads(site.ggnet("audit", "--since", "1h", "--action", "update", "-o", "json").stdout)
    (as_yaml,) = yaml.safe_load_all(site.ggnet("audit", "--action", "update", "-o", "yaml").stdout)
    assert as_json == {"items": [as_yaml]}
    assert as_yaml["after"] == {"spec": {"hostname": "one"}}
    assert "nothing" in site.ggnet("audit", "--who", "nobody").stderr
    assert site.ggnet("audit", "--since", "soon").returncode == 5


def test_the_command_finds_a_row_that_was_altered_and_a_log_that_was_cut(site: Served) -> None:
    whole = site.ggnet("audit", "verify")
    assert whole.returncode == 0, whole.stderr
    head = whole.stdout.split()[-1]
    assert re.fullmatch("4:[0-9a-f]{64}", head)
    assert site.ggnet("audit", "verify", "--head", head).returncode == 0
    with sqlite3.connect(site.folder / "ggnet.db") as file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f"DROP TRIGGER {name}")
        file.execute("UPDATE audit SET object = 'Machine/pc99' WHERE seq = 2")
    found = site.ggnet("audit", "verify")
    assert found.returncode == 1
    assert "row 2 was altered" in found.stderr
    kinds = [one["kind"] for one in json.loads(site.ggnet("audit", "verify", "-o", "json").stdout)["findings"]]
    assert kinds == ["altered"]
    with sqlite3.connect(site.folder / "ggnet.db") as file:
        file.execute("DELETE FROM audit")
        file.execute(f"UPDATE audit_marks SET seq = 0, hash = '{'0' * 64}'")
    assert site.ggnet("audit", "verify").returncode == 0
    cut = site.ggnet("audit", "verify", "--head", head)
    assert cut.returncode == 1
    assert "noted" in cut.stderr


def test_the_command_prunes_on_the_server_itself(site: Served) -> None:
    assert site.ggnet("audit", "prune", "--before", "1h").stdout == "0 rows removed\n"
    assert site.ggnet("audit", "prune", "--before", "2999-01-01").returncode == 2
    assert site.ggnet("audit", "prune", "--before", "never").returncode == 2
    pruned = site.ggnet("audit", "prune", "--before", SystemClock().now().isoformat())
    assert pruned.returncode == 0, pruned.stderr
    (row,) = audited(site)[-1:]
    assert (row["action"], row["after"]["rows"]) == ("audit-prune", 4)
    assert row["who"].startswith("local:")
    assert site.ggnet("audit", "verify").returncode == 0


def test_a_moment_is_a_date_a_time_or_how_long_ago() -> None:
    assert parse("2h", NOW) == later(-7200)
    assert parse("2026-01-05T13:00:00+01:00", NOW).isoformat() == "2026-01-05T12:00:00+00:00"
    assert parse("2026-01-05", NOW).isoformat() == "2026-01-05T00:00:00+00:00"
    assert parse("0001-01-01", NOW).year == parse("3650d", parse("1975-01-01", NOW)).year == 1970
    for bad in ("", "now", "-2h", "2026-13-01", "0001-01-01T00:00:00+23:00x"):
        with pytest.raises(ValueError, match="no time"):
            parse(bad, NOW)


def acts(door: Served) -> list[tuple[str, str, str | None, str]]:
    return [(row["who"], row["action"], row["object"], row["outcome"]) for row in audited(door)]


def test_whatever_happens_to_a_login_an_account_or_a_key_is_a_row(door: Served) -> None:
    ask(door, "POST", "/users", door.token, json={"username": "ada", "password": PASSWORD, "role": "OPERATOR"})
    try_login(door, "ada", "wrong")
    ada = login(door)
    renewed = renew(door, ada.refresh).json()
    renew(door, ada.refresh)
    renew(door, "ggr_nothing")
    ada = login(door)
    ada.ask("POST", "/auth/password", json={"old_password": PASSWORD, "new_password": f"{PASSWORD} 2"})
    key = ada.ask("POST", "/tokens", json={"name": "ci", "scopes": ["read"]}).json()
    ada.ask("POST", f"/tokens/{key['id']}/rotate")
    ada.ask("DELETE", f"/tokens/{key['id']}")
    ask(door, "PATCH", "/users/ada", door.token, json={"role": "VIEWER", "password": f"{PASSWORD} 3"})
    last = login(door, password=f"{PASSWORD} 3")
    last.ask("POST", "/auth/logout")
    ask(door, "POST", "/auth/register", json={"username": "eve", "password": PASSWORD})
    ask(door, "DELETE", "/users/ada", door.token)
    assert acts(door) == [
        ("api:admin", "user-create", "User/ada", "ok"),
        ("api:ada", "login", None, "refused"),
        ("api:ada", "login", None, "ok"),
        ("api:ada", "refresh", None, "ok"),
        ("api:ada", "refresh", None, "reused"),
        ("api:unknown", "refresh", None, "refused"),
        ("api:ada", "login", None, "ok"),
        ("api:ada", "password", None, "ok"),
        ("api:ada", "token-create", f"Token/{key['id']}", "ok"),
        ("api:ada", "token-rotate", f"Token/{key['id']}", "ok"),
        ("api:ada", "token-revoke", f"Token/{key['id']}", "ok"),
        ("api:admin", "user-change", "User/ada", "ok"),
        ("api:ada", "login", None, "ok"),
        ("api:ada", "logout", None, "ok"),
        ("api:eve", "register", None, "refused"),
        ("api:admin", "user-delete", "User/ada", "ok"),
    ]
    (change,) = audited(door, action="user-change")
    assert (change["before"], change["after"]) == ({"role": "OPERATOR"}, {"role": "VIEWER", "password": "***"})
    kept = b"".join(file.read_bytes() for file in door.folder.glob("ggnet.db*"))
    assert b"user-create" in kept
    for secret in (PASSWORD, renewed["refresh_token"], renewed["access_token"], key["token"]):
        assert secret.encode() not in kept


def test_all_that_is_kept_about_a_person_is_handed_out_and_then_forgotten(door: Served) -> None:
    door.apply(NETWORK)
    user(door, "ada", "OPERATOR")
    ada = login(door)
    ada.ask("POST", "/machines", content=machine(7))
    ada.ask("POST", "/tokens", json={"name": "ci", "scopes": ["read"]})
    assert ada.ask("GET", "/users/ada/export").status_code == 403
    told = json.loads(door.ggnet("user", "export", "ada").stdout)
    assert (told["username"], told["account"]["role"]) == ("ada", "OPERATOR")
    assert (told["objects"], [one["name"] for one in told["tokens"]]) == (["Machine/pc07"], ["ci"])
    assert [row["action"] for row in told["audit"]] == ["user-create", "login", "create", "token-create"]
    assert "$2b$" not in str(told)

    assert door.ggnet("user", "delete", "ada", "--erase").returncode == 0
    assert door.ggnet("user", "export", "ada").returncode == 4
    rows = audited(door)
    assert rows[-1]["action"] == "erase"
    assert "ada" not in {str(row["who"])[4:] for row in rows} | {str(row["object"])[5:] for row in rows}
    with door.http as http:
        assert http.get("/api/v1/machines/pc07").json()["metadata"]["managedBy"] == "api:erased"
        assert http.get("/api/v1/audit/verify").json()["whole"] is True
        assert http.get("/api/v1/users/never/export").status_code == 404


def test_who_was_deleted_before_can_be_forgotten_later_and_the_servers_own_names_never(door: Served) -> None:
    """As after an erasure that failed when the account was gone already."""
    user(door, "ada", "OPERATOR")
    assert ask(door, "DELETE", "/users/ada", door.token).status_code == 204
    assert any(row["object"] == "User/ada" for row in audited(door))
    assert ask(door, "DELETE", "/users/ada", door.token).status_code == 404
    assert ask(door, "DELETE", "/users/ada?erase=true", door.token).status_code == 204
    assert audited(door)[-1]["action"] == "erase"
    assert not any("ada" in str(row["object"]) for row in audited(door))
    for name in ("ada", "never", "admin", "erased", "unknown", "Ada", "a%20b"):
        assert ask(door, "DELETE", f"/users/{name}?erase=true", door.token).status_code == 404, name
    assert {row["who"] for row in audited(door)} == {"api:admin"}


def test_who_made_a_webhook_or_a_binding_is_forgotten_too(door: Served) -> None:
    user(door, "abe", "ADMIN")
    user(door, "ben", "VIEWER")
    abe = login(door, "abe")
    hook = {"url": "https://9.9.9.9/x", "events": ["phase-changed"]}
    bound = {"user": "ben", "verbs": ["start"], "labelSelector": "room=main"}
    for path, wanted in (("/webhooks", hook), ("/bindings", bound)):
        made = abe.ask("POST", path, json=wanted)
        assert (made.status_code, made.json()["createdBy"]) == (201, "abe"), made.text
    assert door.ggnet("user", "delete", "abe", "--erase").returncode == 0
    with door.http as http:
        for path in ("webhooks", "bindings"):
            assert [one["createdBy"] for one in http.get(f"/api/v1/{path}").json()["items"]] == ["erased"]


def test_what_is_done_to_a_webhook_is_a_row_without_its_secret(door: Served) -> None:
    with door.http as http:
        made = http.post("/api/v1/webhooks", json={"url": "https://9.9.9.9/x", "events": ["phase-changed"]})
        assert made.status_code == 201, made.text
        path = f"/api/v1/webhooks/{made.json()['id']}"
        http.patch(path, json={"enabled": False}).raise_for_status()
        http.post(f"{path}/rotate-secret", json={}).raise_for_status()
        sent = http.post(f"{path}/test").raise_for_status().json()
        http.post(f"{path}/deliveries/{sent['id']}/retry").raise_for_status()
        http.delete(path).raise_for_status()
    rows = audited(door)
    assert [row["action"] for row in rows] == [
        f"webhook-{act}" for act in ("create", "change", "rotate", "test", "retry", "delete")
    ]
    assert {(row["who"], row["object"]) for row in rows} == {("api:admin", f"Webhook/{made.json()['id']}")}
    assert made.json()["secret"] not in str(rows)


def test_who_was_bound_and_unbound_by_whom_is_told(door: Served) -> None:
    with door.http as http:
        http.post("/api/v1/users", json={"username": "ada", "password": "correct-horse-battery"}).raise_for_status()
        wanted = {"user": "ada", "verbs": ["start"], "labelSelector": "room=main"}
        made = http.post("/api/v1/bindings", json=wanted).raise_for_status().json()
        http.delete(f"/api/v1/bindings/{made['id']}").raise_for_status()
    rows = [row for row in audited(door) if row["action"].startswith("binding-")]
    assert [(row["action"], row["object"], row["who"]) for row in rows] == [
        ("binding-create", "User/ada", "api:admin"),
        ("binding-delete", "User/ada", "api:admin"),
    ]
    told = {"id": made["id"], "verbs": ["start"], "labelSelector": "room=main", "narrows": False}
    assert rows[0]["after"] == rows[1]["before"] == told
