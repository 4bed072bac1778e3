"""The health of each part, for administrators; and what the manual's pages may load."""

import json
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI

from api.deps import Principal, Role
from api.errors import Forbidden
from api.inspection import Health, health
from api.manual import Manual
from controller.adapters.clock import SystemClock
from controller.adapters.rates_redis import Shared
from tests.api.served import Served, serving
from tests.api.test_doors_are_closed import application
from tests.api.warm import Warm
from tests.servers import Redis


def test_an_administrator_sees_every_part(tmp_path: Path, warm: Warm, redis_server: Redis) -> None:
    def shared() -> Shared:
        from redis.asyncio import ConnectionPool

        return Shared(ConnectionPool.from_url(redis_server.url), SystemClock())

    with serving(tmp_path, warm, rates=shared, upload_dir=tmp_path / "uploads") as door, door.http as http:
        first = http.get("/api/v1/health").json()
        assert (first["ok"], first["controller"]["alive"], first["redis"]["ok"]) == (False, False, True)
        door.lead()
        now = datetime.now(UTC).isoformat()
        door.observe({"sweep": json.dumps({"at": now, "epoch": door.lease[0].epoch})})
        found = Health.model_validate(http.get("/api/v1/health").json())
        assert (found.ok, found.store.ok, found.store.kind, found.store.newest) == (True, True, "sqlite", 0)
        assert 0 < found.store.seconds < 5
        assert (found.controller.holder, found.controller.epoch) == ("test", door.lease[0].epoch)
        assert found.controller.sweep_age is not None
        assert found.controller.sweep_age < 60
        state, pool = found.disks
        assert state.path == str(tmp_path)
        assert 0 < (state.free or 0) <= (state.total or 0)
        assert (pool.path, pool.free) == (str(tmp_path / "pool"), None), "not there yet"
        redis_server.stop()
        try:
            assert http.get("/api/v1/health").json()["redis"]["ok"] is False
        finally:
            redis_server.start()
        with sqlite3.connect(tmp_path / "ggnet.db") as database:
            database.execute("ALTER TABLE counters RENAME TO lost")
        database.close()
        broken = http.get("/api/v1/health")
        assert (broken.status_code, broken.json()["ok"], broken.json()["store"]["ok"]) == (200, False, False)
        assert door.token not in broken.text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_nobody_else_does(role: Role, tmp_path: Path) -> None:
    door = application(tmp_path).state.door
    with pytest.raises(Forbidden):
        anyio.run(health, door, Principal("ada", role, "", "r1"))


def test_without_a_redis_there_is_none_to_tell_of(door: Served) -> None:
    with door.http as http:
        assert http.get("/api/v1/health").json()["redis"]["ok"] is None


class Pages:
    """The manual's pages as an application of their own, on no socket."""

    def __init__(self, folder: Path) -> None:
        self.app = FastAPI(title="T", docs_url=None, redoc_url=None)
        Manual(self.app, folder)

    def get(self, path: str, **headers: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
                return await http.get(path, headers=headers)

        return anyio.run(ask)


def outside(page: httpx.Response) -> set[str]:
    return set(re.findall(r"https?://[^/\"' ]+", page.text)) - {"http://x"}


def test_with_its_scripts_here_the_manual_loads_nothing_from_outside(tmp_path: Path) -> None:
    (tmp_path / "swagger-ui-bundle.js").write_text("ui")
    pages = Pages(tmp_path)
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        page = pages.get(path)
        assert page.status_code == 200
        assert outside(page) == set(), path
        assert "https" not in page.headers["content-security-policy"]
    script = pages.get("/docs/assets/swagger-ui-bundle.js")
    assert (script.text, script.headers["content-type"]) == ("ui", "application/javascript")
    again = pages.get("/docs/assets/swagger-ui-bundle.js", **{"If-None-Match": script.headers["etag"]})
    assert again.status_code == 304
    for name in ("..%2fsecret", "other.js", "%2e%2e/x"):
        assert pages.get(f"/docs/assets/{name}").status_code in (404, 500), name


def test_the_scripts_come_with_us(door: Served) -> None:
    with door.http as http:
        for path in ("/docs", "/redoc"):
            for asset in re.findall(r'(?:src|href)="(/docs/assets/[^"]+)"', http.get(path).text):
                assert len(http.get(asset).raise_for_status().content) > 10_000, asset


def test_every_script_in_a_page_is_named_in_its_policy_by_digest(door: Served) -> None:
    with door.http as http:
        for path in ("/docs", "/docs/oauth2-redirect"):
            page = http.get(path)
            policy = page.headers["content-security-policy"]
            inline = re.findall(r"<script>", page.text)
            assert len(re.findall("'sha256-[A-Za-z0-9+/]{43}='", policy)) == len(inline) > 0
            assert "script-src" in policy
            assert "'unsafe-inline'" not in policy.partition("style-src")[0]
            assert "frame-ancestors 'none'" in policy
