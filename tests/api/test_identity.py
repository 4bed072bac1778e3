"""Accounts, logins and API keys at a door on a socket, over both databases."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.api.people import PASSWORD, Person, api_key, ask, login, renew, try_login, user
from tests.api.served import Served, serving
from tests.api.warm import Warm

NEW = "quite another sentence"


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path, warm: Warm) -> Iterator[Served]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    with serving(tmp_path, warm, database_url=url) as served:
        yield served


@pytest.fixture
def admin(door: Served) -> Person:
    """The local administrator."""
    return Person(door, door.token)


def me(person: Person) -> Any:
    return person.ask("GET", "/auth/me").json()


def test_a_login_is_good_until_logout(either: Served) -> None:
    user(either, role="OPERATOR")
    ada = login(either)
    assert me(ada) == {"username": "ada", "role": "OPERATOR", "via": "login", "scopes": ["read", "write", "admin"]}
    assert ada.ask("POST", "/auth/logout").status_code == 204
    assert ada.status() == 401
    assert renew(either, ada.refresh).status_code == 401


def test_a_login_renews_itself_and_one_that_is_copied_ends(either: Served) -> None:
    user(either)
    first = login(either)
    second = renew(either, first.refresh).json()
    assert Person(either, second["access_token"]).status() == first.status() == 200
    again = renew(either, first.refresh)
    assert (again.status_code, again.json()["error_code"]) == (401, "unauthorised")
    assert renew(either, second["refresh_token"]).status_code == 401
    assert Person(either, second["access_token"]).status() == first.status() == 401


def test_another_password_ends_all_other_logins(either: Served) -> None:
    user(either)
    here, there = login(either), login(either)
    changed = here.ask("POST", "/auth/password", json={"old_password": PASSWORD, "new_password": NEW})
    assert changed.status_code == 204, changed.text
    assert (here.status(), there.status()) == (200, 401)
    assert (renew(either, here.refresh).status_code, renew(either, there.refresh).status_code) == (200, 401)
    assert try_login(either).status_code == 401
    assert login(either, password=NEW).status() == 200


def test_a_change_of_an_account_counts_at_once(either: Served) -> None:
    user(either)
    ada, path = login(either), "/users/ada"
    administrate = Person(either, either.token)
    assert administrate.ask("PATCH", path, json={"role": "ADMIN"}).json()["role"] == "ADMIN"
    assert me(ada)["role"] == "ADMIN"
    assert ada.ask("GET", "/users").status_code == 200
    assert administrate.ask("PATCH", path, json={"role": "VIEWER"}).status_code == 200
    assert ada.ask("GET", "/users").status_code == 403
    assert administrate.ask("PATCH", path, json={"disabled": True}).json()["disabled"] is True
    assert ada.status() == try_login(either).status_code == renew(either, ada.refresh).status_code == 401
    assert administrate.ask("PATCH", path, json={"disabled": False}).status_code == 200
    assert ada.status() == 401  # what was ended stays so
    again = login(either)
    assert administrate.ask("PATCH", path, json={"password": NEW}).status_code == 200
    assert again.status() == 401
    last = login(either, password=NEW)
    assert administrate.ask("DELETE", path).status_code == 204
    assert (last.status(), administrate.ask("GET", path).status_code) == (401, 404)


def test_an_account_made_again_is_another(either: Served) -> None:
    user(either)
    before = login(either)
    ask(either, "DELETE", "/users/ada", either.token)
    user(either, role="ADMIN")
    assert before.status() == renew(either, before.refresh).status_code == 401


def test_an_api_key_is_what_its_scopes_and_its_owner_are(either: Served) -> None:
    user(either, role="OPERATOR")
    ada = login(either)
    reads, writes = api_key(ada, "read"), api_key(ada, "read", "write")
    assert me(reads) == {"username": "ada", "role": "VIEWER", "via": "token", "scopes": ["read"]}
    assert me(writes)["role"] == "OPERATOR"
    ask(either, "PATCH", "/users/ada", either.token, json={"role": "VIEWER"})
    assert me(writes)["role"] == "VIEWER"
    ask(either, "PATCH", "/users/ada", either.token, json={"disabled": True})
    assert reads.status() == writes.status() == 401


def test_an_api_key_is_shown_once_rotated_and_revoked(either: Served) -> None:
    user(either)
    ada = login(either)
    key = api_key(ada, "read")
    assert key.status() == 200
    (listed,) = ada.ask("GET", "/tokens").json()["items"]
    assert (listed["id"], listed["user"], listed["scopes"]) == (key.refresh, "ada", ["read"])
    assert datetime.fromisoformat(listed["lastUsedAt"]) > datetime.now(UTC) - timedelta(minutes=5)
    assert key.access.removeprefix(f"ggk_{key.refresh}_") not in str(listed)
    rotated = Person(either, key.ask("POST", f"/tokens/{key.refresh}/rotate").json()["token"])
    assert (key.status(), rotated.status()) == (401, 200)
    assert ada.ask("DELETE", f"/tokens/{key.refresh}").status_code == 204
    assert rotated.status() == 401
    assert ada.ask("DELETE", f"/tokens/{key.refresh}").status_code == 404


def test_an_api_key_expires(door: Served, admin: Person) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=4)
    key = api_key(admin, "admin", expiresAt=soon.isoformat())
    assert key.status() == 200
    time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()))
    assert key.status() == 401
    past = admin.ask("POST", "/tokens", json={"name": "x", "scopes": ["read"], "expiresAt": soon.isoformat()})
    assert (past.status_code, past.json()["errors"][0]["field"]) == (422, "expiresAt")


def test_the_local_administrators_key_has_no_account(door: Served, admin: Person) -> None:
    assert me(admin) == {"username": "admin", "role": "ADMIN", "via": "local", "scopes": ["read", "write", "admin"]}
    key = api_key(admin, "write")
    assert me(key) == {"username": "admin", "role": "OPERATOR", "via": "token", "scopes": ["write"]}
    for path in ("/auth/logout", "/auth/password"):
        body = {"old_password": PASSWORD, "new_password": NEW}
        assert admin.ask("POST", path, json=body).status_code == key.ask("POST", path, json=body).status_code == 403


def test_an_administrator_handles_everybodys_keys_others_their_own(door: Served, admin: Person) -> None:
    user(door, "ada")
    user(door, "bob")
    ada, bob = login(door, "ada"), login(door, "bob")
    key = api_key(ada, "read")
    assert bob.ask("GET", "/tokens").json()["items"] == []
    assert bob.ask("DELETE", f"/tokens/{key.refresh}").status_code == 404
    assert bob.ask("POST", f"/tokens/{key.refresh}/rotate").status_code == 404
    for_bob = admin.ask("POST", "/tokens", json={"name": "x", "scopes": ["read"], "user": "bob"}).json()
    assert [one["id"] for one in bob.ask("GET", "/tokens").json()["items"]] == [for_bob["id"]]
    assert len(admin.ask("GET", "/tokens").json()["items"]) == 2
    assert admin.ask("DELETE", f"/tokens/{key.refresh}").status_code == 204
    assert key.status() == 401
    assert admin.ask("POST", "/tokens", json={"name": "x", "scopes": ["read"], "user": "eve"}).status_code == 404


def test_users_come_in_pages(door: Served, admin: Person) -> None:
    for name in ("c", "a", "b"):
        user(door, name)
    first = admin.ask("GET", "/users", params={"limit": 2}).json()
    rest = admin.ask("GET", "/users", params={"limit": 2, "continue": first["metadata"]["continue"]}).json()
    assert [[one["username"] for one in page["items"]] for page in (first, rest)] == [["a", "b"], ["c"]]
    assert rest["metadata"]["continue"] is None
    for wrong in ("%%%", "Li4v", "/w=="):
        assert admin.ask("GET", "/users", params={"continue": wrong}).status_code == 400


def test_names_and_passwords_that_cannot_be_are_refused_by_field(door: Served, admin: Person) -> None:
    refused = [
        ({"username": "Ada"}, "username"),
        ({"username": "../x"}, "username"),
        ({"username": "a\u0000"}, "username"),
        ({"username": "a" * 64}, "username"),
        ({"username": "а-cyrillic"}, "username"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 73}, "password"),
        ({"password": "é" * 37}, "password"),
        ({"password": "password1234"}, "password"),
        ({"role": "ROOT"}, "role"),
        ({"uid": "1"}, "uid"),
    ]
    for change, field in refused:
        answer = admin.ask("POST", "/users", json={"username": "ada", "password": PASSWORD, **change})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text
    user(door)
    assert admin.ask("POST", "/users", json={"username": "ada", "password": PASSWORD}).json()["error_code"] == "exists"
    changes: tuple[dict[str, Any], ...] = ({"role": None}, {"disabled": "x"}, {"locked": True}, {"password": None}, {"a": 1})
    for change in changes:
        assert admin.ask("PATCH", "/users/ada", json=change).status_code == 422


def test_registration_is_closed_unless_it_is_configured(door: Served, tmp_path: Path, warm: Warm) -> None:
    wish = {"username": "eve", "password": PASSWORD}
    closed = ask(door, "POST", "/auth/register", json=wish)
    assert (closed.status_code, closed.json()["error_code"]) == (403, "forbidden")
    (tmp_path / "open").mkdir()
    with serving(tmp_path / "open", warm, registration="open") as opened:
        made = ask(opened, "POST", "/auth/register", json=wish)
        assert (made.status_code, made.json()["role"]) == (201, "VIEWER")
        assert me(login(opened, "eve"))["role"] == "VIEWER"
        assert ask(opened, "POST", "/auth/register", json=wish).status_code == 409


@pytest.mark.parametrize("name", ["admin", "erased", "unknown"])
def test_nobody_is_called_what_the_log_calls_somebody_else(door: Served, tmp_path: Path, warm: Warm, name: str) -> None:
    made = ask(door, "POST", "/users", door.token, json={"username": name, "password": PASSWORD})
    assert (made.status_code, made.json()["errors"][0]["field"]) == (422, "username")
    assert ask(door, "GET", f"/users/{name}", door.token).status_code == 404


def test_a_name_is_the_same_in_capitals(door: Served) -> None:
    user(door)
    assert login(door, "ADA").status() == 200


def test_the_manual_can_log_in(door: Served) -> None:
    with door.http as http:
        document = http.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    flow = schemes["OAuth2PasswordBearer"]["flows"]["password"]
    assert flow["tokenUrl"] == "/api/v1/auth/login"
    assert flow["tokenUrl"] in document["paths"]
    assert schemes["HTTPBearer"]["scheme"] == "bearer"
    assert document["paths"]["/api/v1/auth/login"]["post"]["security"] == []
    form = document["paths"]["/api/v1/auth/login"]["post"]["requestBody"]["content"]
    assert list(form) == ["application/x-www-form-urlencoded"]


def test_a_replica_hears_of_a_change_soon(tmp_path: Path, warm: Warm) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    shared = f"sqlite+aiosqlite:///{tmp_path / 'shared.db'}"
    with serving(folders[0], warm, database_url=shared) as one:
        (folders[1] / "keys").symlink_to(folders[0] / "keys")
        with serving(folders[1], warm, database_url=shared) as other:
            user(one)
            ada = login(one)
            there = Person(other, ada.access)
            assert soon(there, 200)
            ada.ask("POST", "/auth/logout")
            assert ada.status() == 401
            assert soon(there, 401)


def soon(person: Person, status: int) -> bool:
    deadline = datetime.now(UTC) + timedelta(seconds=20)  # in a second or so, where the machine is not busy
    while datetime.now(UTC) < deadline:
        if person.status() == status:
            return True
    return False
