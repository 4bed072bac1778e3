"""Several API processes on one PostgreSQL and one Redis, and those who listen to them."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from tests.api.test_daemons import free_port, running


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
