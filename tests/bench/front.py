"""The REST door: requests a second and how long they take, live changes, and whether the door stays open meanwhile.

    python -m tests.bench.front [--quick]

A server in the same framework that does nothing, and one that makes a single query, are asked the same way in the same
run. Clients, servers, PostgreSQL and Redis share this machine's processors.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlencode

from rich.console import Console
from rich.table import Table

from tests.bench.doors import MACHINES, PASSWORD, Doors, doors, machine
from tests.bench.live import between_replicas, heard
from tests.bench.load import Pressed, Wire, press, request, shared
from tests.bench.machine import told

_SECONDS = 3.0
_TIMES = ("p50", "p95", "p99")


@dataclass(frozen=True, slots=True)
class Ask:
    """``goal``: requests a second at 64 clients; None where only the floor is to be compared with."""

    work: str
    wire: Wire
    least_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    work: str
    clients: int
    ours: Pressed
    stall: float
    goal: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        verdict = "" if self.met is None else "[green]met[/green]" if self.met else "[red]MISSED[/red]"
        times = (f"{1000 * self.ours.part(share):.1f}" for share in (0.5, 0.95, 0.99))
        rate, stall = f"{self.ours.rate:,.0f}", f"{1000 * self.stall:.0f}"
        return (self.work, f"{self.clients:,}", rate, *times, stall, self.goal, verdict + self._trouble())

    def _trouble(self) -> str:
        wrong = sum(number for status, number in self.ours.statuses.items() if not 200 <= status < 300)
        told = ((wrong, "refused"), (self.ours.unanswered, "unanswered"))
        return ", ".join(f"{number} {what}" for number, what in told if number)


def asks(door: Doors) -> Sequence[Ask]:
    turn = count(1)
    json_headers = {**door.headers, "Content-Type": "application/json"}

    def apply(client: int, _: int) -> bytes:
        return request("POST", "/api/v1/apply", json_headers, json.dumps([machine(client, next(turn))]).encode())

    gets = [request("GET", f"/api/v1/machines/pc{number:03}", door.headers) for number in range(0, MACHINES, 7)]
    return (
        Ask("GET /healthz", shared(request("GET", "/healthz"))),
        Ask("GET one machine, signed in", shared(*gets), least_rate=5_000),
        Ask("GET list, 50 of 1,000", shared(request("GET", "/api/v1/machines?limit=50", door.headers))),
        Ask("GET list, 500 of 1,000", shared(request("GET", "/api/v1/machines", door.headers))),
        Ask("POST apply, one machine", apply),
    )


def login() -> Ask:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"username": "bench", "password": PASSWORD}).encode()
    return Ask("POST login (bcrypt, 2^12)", shared(request("POST", "/api/v1/auth/login", form, body)))


def figures(door: Doors, sizes: Sequence[int]) -> Iterator[Figure]:
    hello, row = shared(request("GET", "/hello")), shared(request("GET", "/row"))
    for clients in sizes:
        for work, wire in (("floor: bare FastAPI handler", hello), ("floor: the same with one query of asyncpg", row)):
            yield Figure(work, clients, press([door.bare], clients, _SECONDS, wire), 0.0)
        for ask in asks(door):
            yield figure(door, ask, clients)


def figure(door: Doors, ask: Ask, clients: int) -> Figure:
    ports = door.ports[:1] if clients < 1_000 else door.ports
    began = time.monotonic()
    pressed = press(ports, clients, _SECONDS, ask.wire)
    return _judged(ask, clients, pressed, door.stalled(began, time.monotonic()))


def _judged(ask: Ask, clients: int, pressed: Pressed, stall: float) -> Figure:
    if ask.least_rate is not None and clients == 64:
        met = pressed.rate >= ask.least_rate and pressed.part(0.99) <= 0.015
        return Figure(ask.work, clients, pressed, stall, f">= {ask.least_rate:,.0f}/s, p99 <= 15 ms", met)
    if ask.least_rate is not None and clients >= 1_000:
        return Figure(f"{ask.work}, 2 processes", clients, pressed, stall, "p95 <= 100 ms", pressed.part(0.95) <= 0.1)
    return Figure(ask.work, clients, pressed, stall)


def open_meanwhile(door: Doors) -> Figure:
    """``/healthz`` of a door on which 64 others read, list and write as fast as they can."""
    apply = asks(door)[4].wire
    read, few, many = (ask.wire for ask in asks(door)[1:4])

    def mixed(client: int, turn: int) -> bytes:
        wire = (read, read, few, many, apply)[(client + turn) % 5]
        return wire(client, turn)

    began = time.monotonic()
    others = threading.Thread(target=press, args=(door.ports[:1], 64, _SECONDS + 1, mixed))
    others.start()
    time.sleep(0.5)
    pressed = press(door.ports[:1], 1, _SECONDS, shared(request("GET", "/healthz")))
    others.join()
    stall = door.stalled(began, time.monotonic())
    return Figure(
        "GET /healthz, while 64 read, list and write", 1, pressed, stall, "p99 <= 10 ms", pressed.part(0.99) <= 0.01
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.front", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the 1,000 clients")
    asked = parser.parse_args()
    show(quick=asked.quick)
    return 0


def show(*, quick: bool) -> None:
    asking = _table("the REST door: milliseconds", "work", "clients", "/s", *_TIMES, "longest stall", "goal", "")
    live = _table(
        "live changes: milliseconds from the acknowledged write",
        "watchers",
        *_TIMES,
        "floor p99",
        "longest stall",
        "goal",
        "",
    )
    sizes = (1, 64) if quick else (1, 64, 1_000)
    with told(), doors() as door:
        for one in figures(door, sizes):
            _add(asking, one.cells())
        _add(asking, open_meanwhile(door).cells())
        for watchers in (100,) if quick else (100, 1_000):
            _add(live, heard(door, watchers).cells())
        _add(live, between_replicas())
        for clients in sizes:  # last: what a thousand have asked for goes on being hashed when nobody waits any more
            _add(asking, figure(door, login(), clients).cells())
    for table in (asking, live):
        Console(width=None if Console().is_terminal else 180).print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="left" if name in ("work", "goal", "") else "right", overflow="fold")
    return table


def _add(table: Table, cells: tuple[str, ...]) -> None:
    """Now on stderr, because all of them take minutes."""
    print(" | ".join(cells), file=sys.stderr, flush=True)
    table.add_row(*cells)


if __name__ == "__main__":
    sys.exit(main())
