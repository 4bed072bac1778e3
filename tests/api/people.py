"""People at a served door: accounts, logins, and requests with a token of one's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.api.served import Served

A = "/api/v1"
PASSWORD = "a sentence of my own"


@dataclass(frozen=True)
class Person:
    """Who has logged in at this door, from this address as a proxy tells it."""

    door: Served
    access: str
    refresh: str = ""

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        return ask(self.door, method, path, self.access, **request)

    def status(self) -> int:
        return self.ask("GET", "/auth/me").status_code


def ask(door: Served, method: str, path: str, token: str | None = None, **request: Any) -> httpx.Response:
    headers: dict[str, str] = {**({"Authorization": f"Bearer {token}"} if token else {}), **request.pop("headers", {})}
    more = {"trust_env": False, "verify": False, "timeout": 60, **request}
    return httpx.request(method, f"{door.url}{A}{path}", headers=headers, **more)


def user(door: Served, name: str = "ada", role: str = "VIEWER", password: str = PASSWORD) -> None:
    made = ask(door, "POST", "/users", door.token, json={"username": name, "password": password, "role": role})
    assert made.status_code == 201, made.text


def try_login(
    door: Served, name: str = "ada", password: str = PASSWORD, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    return ask(door, "POST", "/auth/login", data={"username": name, "password": password}, headers=dict(headers or {}))


def login(door: Served, name: str = "ada", password: str = PASSWORD) -> Person:
    answer = try_login(door, name, password)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    return Person(door, answer.json()["access_token"], answer.json()["refresh_token"])


def renew(door: Served, refresh: str) -> httpx.Response:
    return ask(door, "POST", "/auth/refresh", json={"refresh_token": refresh})


def api_key(person: Person, *scopes: str, **more: str) -> Person:
    made = person.ask("POST", "/tokens", json={"name": "ci", "scopes": scopes, **more})
    assert made.status_code == 201, made.text
    return Person(person.door, made.json()["token"], made.json()["id"])
