"""Deny by default: whoever has no token gets nothing but two lights and the manual."""

import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, WebSocketRoute

from api.app import create
from api.auth.identity import identity
from api.deps import OPEN, Door
from api.token import TokenError, ensure, read
from controller.adapters.clock import SystemClock
from controller.adapters.hints import LocalHints
from controller.adapters.store import SqlStore
from controller.bootstrap import doors
from controller.settings import Settings
from tests.api.served import Served

MANUAL = {"/openapi.json", "/docs", "/redoc", "/docs/oauth2-redirect", "/docs/assets/{file}"}


def application(folder: Path) -> FastAPI:
    store = SqlStore(f"sqlite+aiosqlite:///{folder / 'none.db'}")
    clock, settings = SystemClock(), Settings(state_dir=folder)
    ours, outbox = identity(store, store, clock, settings), doors.outbox(settings, store)
    return create(Door(store, clock, settings, "x" * 43, LocalHints(), ours, outbox, doors.uploads(settings, store)))


def flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from flat(inner.routes)


def addresses(app: FastAPI) -> list[tuple[str, str]]:
    """Every method of every path, as the OpenAPI document has them, and those that are in no document."""
    told = [(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item]
    hidden = [route for route in flat(app.routes) if not (isinstance(route, APIRoute) and route.include_in_schema)]
    hidden = [route for route in hidden if not isinstance(route, WebSocketRoute)]  # see test_socket
    return told + [("GET", str(getattr(route, "path", ""))) for route in hidden]


def test_every_route_but_health_and_manual_answers_401_without_the_token(door: Served) -> None:
    found = addresses(application(door.folder))
    closed = [(method, path) for method, path in found if path not in OPEN | MANUAL]
    assert len(closed) > 35
    with httpx.Client(base_url=door.url, trust_env=False, timeout=60) as http:
        for method, path in closed:
            answer = http.request(method, re.sub(r"\{.*?\}", "x", path))
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error_code"] == "unauthorised"


def test_health_and_manual_are_open(door: Served) -> None:
    with httpx.Client(base_url=door.url, trust_env=False, timeout=60) as http:
        assert http.get("/healthz").json() == {"status": "ok"}
        assert http.get("/readyz").status_code == 503
        for path in MANUAL - {"/docs/assets/{file}"}:
            assert http.get(path).status_code == 200


def test_a_wrong_token_is_refused(door: Served) -> None:
    with httpx.Client(base_url=door.url, trust_env=False, timeout=60) as http:
        for sent in ("", "Bearer", "Bearer x", "Basic {}", "Bearer {}x", "{}", "Bearer \xff\xfe"):
            header = sent.format(door.token).encode("latin-1")
            assert http.get("/metrics", headers=[(b"Authorization", header)]).status_code == 401, sent
        assert http.get("/metrics", headers={"Authorization": f"bearer {door.token}"}).status_code == 200


def test_the_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first = ensure(tmp_path)
    assert ensure(tmp_path) == read(tmp_path) == first
    assert len(first) >= 43
    assert stat.S_IMODE((tmp_path / "admin.token").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["admin.token"]


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    ensure(tmp_path)
    (tmp_path / "admin.token").chmod(0o644)
    with pytest.raises(TokenError, match="chmod 600"):
        ensure(tmp_path)


def test_an_emptied_token_file_opens_nothing(tmp_path: Path) -> None:
    ensure(tmp_path)
    (tmp_path / "admin.token").write_text("")
    with pytest.raises(TokenError, match="holds no token"):
        ensure(tmp_path)
