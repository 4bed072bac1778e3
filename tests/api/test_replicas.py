"""Two API processes on one PostgreSQL: eight write, twenty watch, and nobody misses or doubles a change."""

from pathlib import Path

import anyio
import httpx
import pytest

from tests.api.replicas import delays, everybody, machine, replicas
from tests.servers import Redis

_CHANGES = 2_000
_SOON = 2.0  # the half of them, whatever runs beside it; ``make bench`` has the figures, of five times as many


@pytest.mark.timeout(300)
def test_each_watcher_sees_every_change_once_and_in_order_and_soon(
    tmp_path: Path, postgres_url: str, redis_server: Redis
) -> None:
    with replicas(tmp_path, 2, GGNET_DATABASE_URL=postgres_url, GGNET_REDIS_URL=redis_server.url) as ours:
        watchers, acknowledged = anyio.run(everybody, ours, _CHANGES)
    for one in watchers:
        assert one.seen == list(range(1, _CHANGES + 1))
        assert one.connections == 1
    assert len({one.digest.hexdigest() for one in watchers[0::2]}) == 1
    told = delays(watchers, acknowledged)
    assert told[len(told) // 2] < _SOON


def test_without_redis_a_read_of_one_sees_what_was_written_through_the_other(tmp_path: Path, postgres_url: str) -> None:
    with replicas(tmp_path, 2, GGNET_DATABASE_URL=postgres_url) as ours:
        clients = [httpx.Client(base_url=url, headers=ours.headers, timeout=60, trust_env=False) for url in ours.urls]
        for turn in range(60):
            written = clients[turn % 2].put("/api/v1/machines/pc1-1", json=machine(1, 1, turn))
            assert written.is_success, written.text
            read = clients[(turn + 1) % 2].get("/api/v1/machines/pc1-1")
            assert read.json() == written.json()
        for one in clients:
            one.close()
