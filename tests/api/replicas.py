"""Several API processes on one PostgreSQL and one Redis, and those who listen to them."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from tests.api.test_daemons import free_port, running

WRITERS, WATCHERS, CHANGES, BATCH = 8, 20, 10_000, 10
_PACE = 0.2  # seconds: 400 changes a second; a flood would measure how long the queue before the database is


@dataclass
class Replicas:
    """``urls`` of processes that share a state folder, and so one administrator's token."""

    urls: list[str]
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def client(self, at: int) -> httpx.AsyncClient:
        url = self.urls[at % len(self.urls)]
        return httpx.AsyncClient(base_url=url, headers=self.headers, timeout=60, trust_env=False)


@contextmanager
def replicas(folder: Path, count: int, **environment: str) -> Iterator[Replicas]:
    with ExitStack() as stack:
        ports = [free_port() for _ in range(count)]
        for port in ports:
            stack.enter_context(running("api", folder=folder, port=port, **environment))
        token = (folder / "admin.token").read_text().strip()
        yield Replicas([f"http://127.0.0.1:{port}" for port in ports], token)


@dataclass
class Watcher:
    """Reads the feed by a bare socket, comes back after a broken line, and notes when it saw which number."""

    url: str
    token: str
    since: int
    seen: list[int] = field(default_factory=list)
    at: dict[int, float] = field(default_factory=dict)
    digest: Any = field(default_factory=sha256)
    connections: int = 0

    async def watch(self, until: int) -> None:
        while self.last < until:
            try:
                await self._connection(until)
            except (OSError, asyncio.IncompleteReadError, EOFError):
                await asyncio.sleep(0.2)

    @property
    def last(self) -> int:
        return self.seen[-1] if self.seen else self.since

    async def _connection(self, until: int) -> None:
        host, _, port = self.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
        try:
            writer.write(
                f"GET /api/v1/watch?since={self.last} HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {self.token}\r\n\r\n".encode()
            )
            status = await reader.readline()
            if b" 200 " not in status:
                raise EOFError(status)
            self.connections += 1
            left = b""
            while self.last < until:
                async with asyncio.timeout(60):
                    data = await reader.read(1 << 18)
                if not data:
                    raise EOFError
                *lines, left = (left + data).split(b"\n")
                self._note(lines, time.monotonic())
        finally:
            writer.close()

    def _note(self, lines: Iterable[bytes], now: float) -> None:
        """Many at a time: a watcher that is slow itself would measure itself."""
        for line in lines:
            if line.startswith(b"id: "):
                self.seen.append(int(line[4:]))
                self.at[self.last] = now
            elif line.startswith(b"data: "):
                self.digest.update(line)


def machine(writer: int, number: int, turn: int) -> dict[str, object]:
    mac = f"52:54:{writer:02x}:00:{number >> 8:02x}:{number & 255:02x}"
    metadata = {"name": f"pc{writer}-{number}", "labels": {"turn": str(turn)}}
    return {"apiVersion": "ggnet/v1", "kind": "Machine", "metadata": metadata, "spec": {"macs": [mac]}}


async def write(ours: Replicas, writer: int, changes: int, acknowledged: dict[int, float]) -> None:
    """So many changes, some at a time; when the last of each lot was acknowledged is noted."""
    async with ours.client(writer) as http:
        for turn in range(changes // WRITERS // BATCH):
            documents = [machine(writer, number, turn) for number in range(BATCH)]
            began = time.monotonic()
            answer = await http.post("/api/v1/apply", json=documents)
            assert answer.status_code == 200, answer.text
            applied = answer.json()
            assert len(applied["created"]) + len(applied["changed"]) == BATCH
            acknowledged[applied["resourceVersion"]] = time.monotonic()
            await asyncio.sleep(max(0.0, began + _PACE - time.monotonic()))


async def everybody(ours: Replicas, changes: int = CHANGES) -> tuple[list[Watcher], dict[int, float]]:
    """The watchers, and when which resourceVersion was acknowledged: the last of each lot."""
    acknowledged: dict[int, float] = {}
    watchers = [Watcher(ours.urls[at % 2], ours.token, 0) for at in range(WATCHERS)]
    async with asyncio.TaskGroup() as tasks:
        for one in watchers:
            tasks.create_task(one.watch(changes))
        await asyncio.sleep(0.5)
        for writer in range(WRITERS):
            tasks.create_task(write(ours, writer, changes, acknowledged))
    return watchers, acknowledged


def delays(watchers: Sequence[Watcher], acknowledged: Mapping[int, float]) -> list[float]:
    """Seconds from when a change was acknowledged to when each of the watchers had heard of it, shortest first."""
    return sorted(one.at[number] - at for one in watchers for number, at in acknowledged.items())
