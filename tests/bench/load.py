"""Load on a REST door: so many clients, each with one connection and one request at a time, for so many seconds.

What it costs to ask is the same for every server that is asked, so that figures of one run can be compared.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

Wire = Callable[[int, int], bytes]
"""The request number ``turn`` of client number ``client``, as it goes over the wire."""
_AFTER = 20.0  # seconds that what was asked in time may take to be answered


@dataclass(slots=True)
class Pressed:
    """``latencies`` in seconds, of all that was answered; ``seconds`` is how long that took, all in all."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    unanswered: int = 0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def part(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def request(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    told = {"Host": "bench", **(headers or {}), **({"Content-Length": str(len(body))} if body else {})}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def press(ports: Sequence[int], clients: int, seconds: float, wire: Wire) -> Pressed:
    """The clients take turns among the ports."""
    import uvloop

    return uvloop.run(pressing(ports, clients, seconds, wire))


async def pressing(ports: Sequence[int], clients: int, seconds: float, wire: Wire) -> Pressed:
    result, loop = Pressed(), asyncio.get_running_loop()
    made = [_Client(number, wire, result) for number in range(clients)]
    for one in made:
        await loop.create_connection(partial(_same, one), "127.0.0.1", ports[one.number % len(ports)])
    began = time.perf_counter()
    for one in made:
        one.begin(began + seconds)
    _, late = await asyncio.wait([one.done for one in made], timeout=seconds + _AFTER)
    result.seconds, result.unanswered = time.perf_counter() - began, len(late)
    for one in made:
        one.close()
    return result


def _same(client: "_Client") -> "_Client":
    return client


class _Client(asyncio.Protocol):
    def __init__(self, number: int, wire: Wire, result: Pressed) -> None:
        self.number, self._wire, self._result = number, wire, result
        self.done = asyncio.get_running_loop().create_future()
        self._turn, self._asked, self._until = 0, 0.0, 0.0
        self._got, self._wanted, self._status = b"", 0, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def begin(self, until: float) -> None:
        self._until = until
        self._ask()

    def close(self) -> None:
        self._transport.abort()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._wire(self.number, self._turn))
        self._turn += 1

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._wanted:
            head, end, _ = self._got.partition(b"\r\n\r\n")
            if not end:
                return
            self._status = int(head[9:12])
            self._wanted = len(head) + 4 + _length(head)
        if len(self._got) >= self._wanted:
            self._answered()

    def _answered(self) -> None:
        now = time.perf_counter()
        self._result.latencies.append(now - self._asked)
        self._result.statuses[self._status] += 1
        self._got, self._wanted = b"", 0
        if now < self._until:
            self._ask()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or EOFError(f"the server closed the connection, after {self._status}"))


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    assert found, head
    return int(rest.partition(b"\r\n")[0])


def shared(*wires: bytes) -> Wire:
    """The same requests for everybody, in turns."""
    several = tuple(wires)
    return lambda client, turn: several[(client + turn) % len(several)]
