"""PostgreSQL and Redis go away under load and come back: what was acknowledged stands, once, and everybody goes on."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
import pytest

from controller.adapters import migrate
from tests.api.replicas import Replicas, Watcher, replicas
from tests.api.test_daemons import free_port, running
from tests.servers import Postgres, Redis, postgres, redis

_NAMES = 4


@pytest.fixture
def database() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture
def cache() -> Iterator[Redis]:
    with redis() as server:
        yield server


@dataclass
class Load:
    """Writers that raise a number each until told to stop; ``acknowledged`` is what each was last told is stored."""

    ours: Replicas
    acknowledged: dict[str, int] = field(default_factory=dict)
    refusals: set[int] = field(default_factory=set)
    stale: int = 0
    readiness: list[int] = field(default_factory=list)
    over: bool = False

    async def write(self, writer: int) -> None:
        name, number = f"pc{writer}", 0
        async with self.ours.client(writer) as http:
            while not self.over:
                number += 1
                body = {
                    "apiVersion": "ggnet/v1",
                    "kind": "Machine",
                    "metadata": {"name": name, "labels": {"n": str(number)}},
                    "spec": {"macs": [f"52:54:00:00:01:{writer:02x}"]},
                }
                while not self.over:
                    answer = await http.put(f"/api/v1/machines/{name}", json=body)
                    if answer.is_success:
                        self.acknowledged[name] = number
                        break
                    self.refusals.add(answer.status_code)
                    assert answer.json()["error_code"] == "unavailable", answer.text
                    assert int(answer.headers["retry-after"]) > 0
                    await asyncio.sleep(0.2)
                await asyncio.sleep(0.02)

    async def read(self, at: int) -> None:
        """Reads never stop; while the store is away they say that they are old."""
        async with self.ours.client(at) as http:
            while not self.over:
                answer = await http.get("/api/v1/machines/pc0")
                assert answer.status_code in (200, 404), answer.text
                self.stale += "warning" in answer.headers
                self.readiness.append((await http.get("/readyz")).status_code)
                await asyncio.sleep(0.05)

    async def until(self, condition: str, seconds: float = 30) -> None:
        began = time.monotonic()
        while not {"stale": self.stale > 0, "written": len(self.acknowledged) == _NAMES}[condition]:
            assert time.monotonic() - began < seconds, condition
            await asyncio.sleep(0.05)

    async def goes_on(self, seconds: float = 40) -> None:
        """Every writer is acknowledged something new."""
        before, began = dict(self.acknowledged), time.monotonic()
        while any(self.acknowledged.get(name, 0) <= number for name, number in before.items()):
            assert time.monotonic() - began < seconds, (before, self.acknowledged)
            await asyncio.sleep(0.05)


async def _story(ours: Replicas, database: Postgres, cache: Redis) -> tuple[Load, list[Watcher], int]:
    load = Load(ours)
    watchers = [Watcher(ours.urls[at % 2], ours.token, 0) for at in range(4)]
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(load.write(writer)) for writer in range(_NAMES)]
        asking += [tasks.create_task(load.read(at)) for at in range(2)]
        seeing = [tasks.create_task(one.watch(1 << 62)) for one in watchers]
        await load.until("written")
        await anyio.to_thread.run_sync(cache.stop)
        await load.goes_on()
        await anyio.to_thread.run_sync(lambda: database.stop(immediate=True))
        await load.until("stale")
        await anyio.to_thread.run_sync(cache.start)
        await anyio.to_thread.run_sync(database.start)
        await load.goes_on()
        load.over = True
        await asyncio.wait(asking)
        async with ours.client(0) as http:
            last = (await http.get("/api/v1/machines")).json()["metadata"]["resourceVersion"]
        began = time.monotonic()
        while any(one.last < last for one in watchers):
            assert time.monotonic() - began < 30, [one.last for one in watchers]
            await asyncio.sleep(0.1)
        for task in seeing:
            task.cancel()
    return load, watchers, last


@pytest.mark.timeout(240)
def test_what_was_acknowledged_stands_and_everybody_goes_on(tmp_path: Path, database: Postgres, cache: Redis) -> None:
    url = anyio.run(database.create, "ggnet")
    anyio.run(migrate.upgrade, url)
    environment = {"GGNET_DATABASE_URL": url, "GGNET_REDIS_URL": cache.url}
    with replicas(tmp_path, 2, **environment) as ours:
        load, watchers, last = anyio.run(_story, ours, database, cache)
        listed = httpx.get(f"{ours.urls[1]}/api/v1/machines", headers=ours.headers, trust_env=False, timeout=60)
        machines = listed.json()["items"]
    stored = {one["metadata"]["name"]: int(one["metadata"]["labels"]["n"]) for one in machines}
    assert stored.keys() == load.acknowledged.keys()
    for name, number in load.acknowledged.items():
        assert number <= stored[name] <= number + 1, "the last one may have been stored without anybody being told"
    assert load.refusals == {503}
    assert load.stale > 0
    assert set(load.readiness) == {503}, "there is no controller, and the store was away: it is never ready"
    for one in watchers:
        assert one.seen == list(range(1, last + 1))


@pytest.mark.timeout(240)
def test_a_controller_goes_on_and_is_ready_again(tmp_path: Path, database: Postgres) -> None:
    url = anyio.run(database.create, "ggnet")
    anyio.run(migrate.upgrade, url)
    port = free_port()
    with running("up", "--simulate", folder=tmp_path, port=port, GGNET_DATABASE_URL=url) as daemon:

        def ready() -> int:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=60).status_code

        def becomes(status: int) -> None:
            began = time.monotonic()
            while ready() != status:
                assert time.monotonic() - began < 60, status
                assert daemon.poll() is None
                time.sleep(0.2)

        becomes(200)
        database.stop()
        becomes(503)
        time.sleep(3)
        assert daemon.poll() is None
        database.start()
        becomes(200)
