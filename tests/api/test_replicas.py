"""Two API processes on one PostgreSQL."""

from pathlib import Path

import httpx

from tests.api.replicas import replicas


def machine(writer: int, number: int, turn: int) -> dict[str, object]:
    mac = f"52:54:{writer:02x}:00:{number >> 8:02x}:{number & 255:02x}"
    metadata = {"name": f"pc{writer}-{number}", "labels": {"turn": str(turn)}}
    return {"apiVersion": "ggnet/v1", "kind": "Machine", "metadata": metadata, "spec": {"macs": [mac]}}


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
