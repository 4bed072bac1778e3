"""Two API processes on one PostgreSQL: eight write, twenty watch, and nobody misses or doubles a change."""

import asyncio
import time
from pathlib import Path

import anyio
import httpx
import pytest

from tests.api.replicas import Replicas, Watcher, replicas
from tests.servers import Redis

WRITERS, WATCHERS, CHANGES, BATCH = 8, 20, 10_000, 10
_SLOWEST = 0.05
_PACE = 0.2  # seconds: 400 changes a second; a flood would measure how long the queue before the database is


def machine(writer: int, number: int, turn: int) -> dict[str, object]:
    mac = f"52:54:{writer:02x}:00:{number >> 8:02x}:{number & 255:02x}"
    metadata = {"name": f"pc{writer}-{number}", "labels": {"turn": str(turn)}}
    return {"apiVersion": "ggnet/v1", "kind": "Machine", "metadata": metadata, "spec": {"macs": [mac]}}


async def write(ours: Replicas, writer: int, acknowledged: dict[int, float]) -> None:
    """So many changes, some at a time; when the last of each lot was acknowledged is noted."""
    async with ours.client(writer) as http:
        for turn in range(CHANGES // WRITERS // BATCH):
            documents = [machine(writer, number, turn) for number in range(BATCH)]
            began = time.monotonic()
            answer = await http.post("/api/v1/apply", json=documents)
            assert answer.status_code == 200, answer.text
            applied = answer.json()
            assert len(applied["created"]) + len(applied["changed"]) == BATCH
            acknowledged[applied["resourceVersion"]] = time.monotonic()
            await asyncio.sleep(max(0.0, began + _PACE - time.monotonic()))


async def everybody(ours: Replicas) -> tuple[list[Watcher], dict[int, float]]:
    acknowledged: dict[int, float] = {}
    watchers = [Watcher(ours.urls[at % 2], ours.token, 0) for at in range(WATCHERS)]
    async with asyncio.TaskGroup() as tasks:
        for one in watchers:
            tasks.create_task(one.watch(CHANGES))
        await asyncio.sleep(0.5)
        for writer in range(WRITERS):
            tasks.create_task(write(ours, writer, acknowledged))
    return watchers, acknowledged


@pytest.mark.timeout(300)
def test_each_watcher_sees_every_change_once_and_in_order_and_soon(
    tmp_path: Path, postgres_url: str, redis_server: Redis
) -> None:
    with replicas(tmp_path, 2, GGNET_DATABASE_URL=postgres_url, GGNET_REDIS_URL=redis_server.url) as ours:
        watchers, acknowledged = anyio.run(everybody, ours)
    delays: list[float] = []
    for one in watchers:
        assert one.seen == list(range(1, CHANGES + 1))
        assert one.connections == 1
        delays += [one.at[number] - at for number, at in acknowledged.items()]
    assert len({one.digest.hexdigest() for one in watchers[0::2]}) == 1
    delays.sort()
    assert delays[int(0.95 * len(delays))] < _SLOWEST, f"p95 {1000 * delays[int(0.95 * len(delays))]:.0f} ms"


def test_without_redis_a_read_of_one_sees_what_was_written_through_the_other(tmp_path: Path, postgres_url: str) -> None:
    with replicas(tmp_path, 2, GGNET_DATABASE_URL=postgres_url) as ours:
        clients = [httpx.Client(base_url=url, headers=ours.headers, timeout=20, trust_env=False) for url in ours.urls]
        for turn in range(60):
            written = clients[turn % 2].put("/api/v1/machines/pc1-1", json=machine(1, 1, turn))
            assert written.is_success, written.text
            read = clients[(turn + 1) % 2].get("/api/v1/machines/pc1-1")
            assert read.json() == written.json()
        for one in clients:
            one.close()
