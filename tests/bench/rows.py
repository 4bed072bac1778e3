"""One figure beside its floor, its peer and its goal, and the table of all of them.

Absolute figures move with the machine and with who else works on it, so what is judged is nearly always a ratio of
two figures of the same run, taken in turns.
"""

import gc
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

GoalKind = Literal["ratio", "at most"]


@dataclass(frozen=True, slots=True)
class Goal:
    """``ratio``: at most so many times the floor; ``at most``: in the row's own unit. ``of``: median or p99."""

    kind: GoalKind
    value: float
    of: Literal["median", "p99"] = "median"


@dataclass(frozen=True, slots=True)
class Row:
    """``ours``, ``floor`` and ``peer`` are samples of one run, in seconds (or MB); ``note`` says what was stood in for."""

    work: str
    count: int
    ours: Sequence[float]
    floor: Sequence[float] = ()
    goal: Goal | None = None
    floor_is: str = ""
    peer: Sequence[float] = ()
    peer_is: str = ""
    unit: Literal["s", "MB"] = "s"
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.ours)

    @property
    def p99(self) -> float:
        return percentile(self.ours, 0.99)

    @property
    def ratio(self) -> float | None:
        return self.median / statistics.median(self.floor) if self.floor else None

    @property
    def met(self) -> bool | None:
        """None when there is nothing to be met."""
        if self.goal is None:
            return None
        if self.goal.kind == "ratio":
            assert self.ratio is not None, "a goal that is a ratio needs a floor"
            return self.ratio <= self.goal.value
        return (self.p99 if self.goal.of == "p99" else self.median) <= self.goal.value

    def cells(self) -> tuple[str, ...]:
        tail = f" / {self._shown(self.p99)}" if len(self.ours) >= 20 else ""
        floor = f"{self._shown(statistics.median(self.floor))}  {self.floor_is}" if self.floor else self.floor_is
        peer = f"{self._shown(statistics.median(self.peer))}  {self.peer_is}" if self.peer else ""
        ratio = f"{self.ratio:.2f}x" if self.ratio is not None else ""
        return (self.work, f"{self.count:,}", self._shown(self.median) + tail, floor, ratio, peer, self._goal(), self._met())

    def _goal(self) -> str:
        if self.goal is None:
            return ""
        if self.goal.kind == "ratio":
            return f"<= {self.goal.value:g}x floor"
        return f"{'p99 ' if self.goal.of == 'p99' else ''}<= {self._shown(self.goal.value)}"

    def _met(self) -> str:
        if self.met is None:
            return ""
        return "[green]met[/green]" if self.met else "[red]MISSED[/red]"

    def _shown(self, value: float) -> str:
        if self.unit == "MB":
            return f"{value:.0f} MB"
        return f"{value * 1000:.2f} ms" if value < 0.1 else f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


@dataclass(slots=True)
class Turns:
    """Two or more works in turns, so that who else is on the machine meets them all alike."""

    samples: dict[str, list[float]] = field(default_factory=dict)

    def take(self, name: str, seconds: float) -> None:
        self.samples.setdefault(name, []).append(seconds)

    def run(self, times: int, **works: Callable[[], object]) -> None:
        for _ in range(times):
            for name, work in works.items():
                self.take(name, timed(work))

    async def wait(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        gc.collect()
        began = time.process_time()
        await work()
        self.take(name, time.process_time() - began)


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor, all threads: what waits for nothing takes as long, on a machine that it has for itself.

    What earlier works left for the garbage collector is not charged to this one.
    """
    gc.collect()
    began = time.process_time()
    kept = work()
    seconds = time.process_time() - began
    del kept
    return seconds


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(part * (len(ordered) - 1)))]


def show(rows: Iterable[Row]) -> None:
    rows = list(rows)
    table = Table(title="figures, each beside its floor and its peer of the same run", title_justify="left")
    for name in ("work", "n", "ours: p50 / p99", "floor", "ratio", "peer", "goal", ""):
        table.add_column(name, justify="right" if name in ("n", "ratio") else "left", overflow="fold")
    for row in rows:
        table.add_row(*row.cells())
    console = Console(width=None if Console().is_terminal else 200)
    console.print(table)
    for note in dict.fromkeys(row.note for row in rows if row.note):
        console.print(f"- {note}", style="dim", highlight=False)


def save(rows: Iterable[Row], path: Path) -> None:
    """Every sample, so that others may judge for themselves."""
    told = [{**asdict(row), "median": row.median, "p99": row.p99, "ratio": row.ratio, "met": row.met} for row in rows]
    path.write_text(json.dumps(told, indent=1) + "\n")
