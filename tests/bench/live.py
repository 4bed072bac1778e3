"""Live changes: from the moment that a write was acknowledged to when each of many watchers has heard of it.

``python -m tests.bench.live PORT`` is the floor: a bare asyncio server that writes the same bytes to as many sockets.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import httpx
import uvloop

from controller.adapters import migrate
from tests.api.replicas import CHANGES, WATCHERS, delays, everybody, replicas
from tests.bench.doors import Doors, machine
from tests.bench.load import request
from tests.bench.rows import percentile
from tests.servers import free_port, postgres, redis

_EVENTS = 60
_EVERY = 0.05
_GOALS = {100: 0.005, 1_000: 0.05}
_BETWEEN = 0.05


@dataclass(frozen=True, slots=True)
class Heard:
    """``delays`` in seconds, one for each watcher and change."""

    watchers: int
    delays: Sequence[float]
    floor: Sequence[float]
    stall: float

    def cells(self) -> tuple[str, ...]:
        goal = _GOALS.get(self.watchers)
        ours, floor = (percentile(delays, 0.99) for delays in (self.delays, self.floor))
        met = "" if goal is None else "[green]met[/green]" if ours <= goal else "[red]MISSED[/red]"
        times = (f"{1000 * percentile(self.delays, share):.1f}" for share in (0.5, 0.95, 0.99))
        wanted = "" if goal is None else f"p99 <= {1000 * goal:.0f} ms"
        stall = f"{1000 * self.stall:.0f}"
        return (f"{self.watchers:,}", *times, f"{1000 * floor:.1f}", stall, wanted, met)


class _Watcher(asyncio.Protocol):
    """Notes when it has heard each number: ``id: 7`` in a line of its own."""

    def __init__(self, hello: bytes) -> None:
        self._hello, self._left = hello, b""
        self.at: dict[int, float] = {}
        self.open = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self.open.done():
            self.open.set_result(None)
        lines = (self._left + data).split(b"\n")
        self._left = lines.pop()
        for line in lines:
            if line.startswith(b"id: "):
                self.at[int(line[4:])] = now


def heard(door: Doors, watchers: int) -> Heard:
    began = time.monotonic()
    ours = uvloop.run(_ours(door, watchers))
    stall = door.stalled(began, time.monotonic())
    with _broadcaster() as port:
        return Heard(watchers, ours, uvloop.run(_floor(port, watchers)), stall)


def between_replicas() -> tuple[str, ...]:
    """Two processes on one PostgreSQL, eight who write, twenty who watch: what the others' writes take to be heard of."""
    with postgres() as database, redis() as hints, tempfile.TemporaryDirectory(prefix="ggnet-bench-") as folder:
        url = anyio.run(database.create, "bench")
        anyio.run(migrate.upgrade, url)
        with replicas(Path(folder), 2, GGNET_DATABASE_URL=url, GGNET_REDIS_URL=hints.url) as ours:
            told = delays(*anyio.run(everybody, ours))
    times = (f"{1000 * percentile(told, share):.1f}" for share in (0.5, 0.95, 0.99))
    met = "[green]met[/green]" if percentile(told, 0.95) <= _BETWEEN else "[red]MISSED[/red]"
    return (f"{WATCHERS} of 2 processes, {CHANGES:,} changes", *times, "", "", f"p95 <= {1000 * _BETWEEN:.0f} ms", met)


async def _ours(door: Doors, count: int) -> list[float]:
    watchers = await _watching(door.ports[0], count, request("GET", "/api/v1/watch", door.headers))
    delays: list[float] = []
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{door.ports[0]}", headers=door.headers, trust_env=False
    ) as http:
        for turn in range(_EVENTS):
            answer = (await http.put("/api/v1/machines/pc001", json=machine(1, 1_000_000 + turn))).raise_for_status()
            acknowledged, number = time.perf_counter(), int(answer.json()["metadata"]["resourceVersion"])
            delays += await _delays(watchers, number, acknowledged)
    for one in watchers:
        one.transport.abort()
    return delays


async def _floor(port: int, count: int) -> list[float]:
    watchers = await _watching(port, count, b"watch\n")
    delays: list[float] = []
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    told = json.dumps({"type": "MODIFIED", "resourceVersion": 1, "object": machine(1)})
    for number in range(1, _EVENTS + 1):
        sent = time.perf_counter()
        writer.write(f"tell {number} {told}\n".encode())
        delays += await _delays(watchers, number, sent)
    writer.close()
    for one in watchers:
        one.transport.abort()
    return delays


async def _watching(port: int, count: int, hello: bytes) -> list[_Watcher]:
    loop, watchers = asyncio.get_running_loop(), [_Watcher(hello) for _ in range(count)]
    for one in watchers:
        await loop.create_connection(partial(_same, one), "127.0.0.1", port)
    async with asyncio.timeout(60):
        await asyncio.gather(*(one.open for one in watchers))
    return watchers


def _same(watcher: _Watcher) -> _Watcher:
    return watcher


async def _delays(watchers: Sequence[_Watcher], number: int, since: float) -> list[float]:
    """Once everybody has heard of it; then a pause, as between one change and the next."""
    async with asyncio.timeout(30):
        while not all(number in one.at for one in watchers):  # noqa: ASYNC110 a watcher that told would be slower
            await asyncio.sleep(0.002)
    await asyncio.sleep(_EVERY)
    return [max(0.0, one.at[number] - since) for one in watchers]


@contextmanager
def _broadcaster() -> Iterator[int]:
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", "tests.bench.live", str(port)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield port
        finally:
            process.terminate()


class _Bare(asyncio.Protocol):
    listening: set[asyncio.Transport] = set()  # noqa: RUF012 of all connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport, self._got = transport, b""

    def data_received(self, data: bytes) -> None:
        *lines, self._got = (self._got + data).split(b"\n")
        for line in lines:
            if line == b"watch":
                self.listening.add(self._transport)
                self._transport.write(b": watching\n\n")
            else:
                _, number, told = line.split(b" ", 2)
                for one in self.listening:
                    one.write(b"id: %s\ndata: %s\n\n" % (number, told))

    def connection_lost(self, exc: Exception | None) -> None:
        self.listening.discard(self._transport)


async def _broadcast(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Bare, "127.0.0.1", port, backlog=2048)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_broadcast(int(sys.argv[1])))
