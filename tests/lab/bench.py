"""Figures from the lab, each beside its peer measured in the same run: ``python -m tests.lab.bench``.

System calls cost about ten times more on the lab's server than on a real one: the ratios are the result.
"""

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.documents import Document, image, machine, network, session
from tests.lab.host import obstacles
from tests.lab.lab import Lab
from tests.lab.site import ROOT, TARGETS, Site, script, target, until
from tests.lab.witness import Changes

TARGETS_OF_OURS, TARGETS_OF_TARGETCLI = 64, 2
SINGLE, MANY, DRIFTS = 20, 100, 10
DISKS, DATA_MIB = 20, 256


@dataclass(frozen=True, slots=True)
class Row:
    """One figure in seconds, its peer's, and the ratio that it should reach."""

    work: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    goal: float | None = None

    def cells(self) -> tuple[str, str, str, str, str]:
        if self.theirs is None:
            return self.work, _time(self.ours), self.peer, "", ""
        ratio = self.theirs / self.ours
        verdict = "" if self.goal is None else f"{self.goal:g}x: {'reached' if ratio >= self.goal else 'MISSED'}"
        return self.work, _time(self.ours), f"{self.peer} {_time(self.theirs)}", f"{ratio:.1f}x", verdict


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def table(rows: Iterable[Row]) -> str:
    cells = [("in the lab", "ours", "peer, same run", "ratio", "goal"), *(row.cells() for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)


def kernel_rows(lab: Lab) -> list[Row]:
    """Targets made, looked at and removed: ours, rtslib's and targetcli's way, on one kernel."""
    program = str(Path(__file__).parent / "inside" / "targets_bench.py")
    argv = [sys.executable, program, str(TARGETS_OF_OURS), str(TARGETS_OF_TARGETCLI)]
    found = json.loads(lab.run(argv, env={"PYTHONPATH": str(ROOT)}, timeout=600).check())
    rows = []
    for work in ("create", "observe", "delete"):
        for peer, goal in (("rtslib", 10.0), ("targetcli", 200.0)):
            rows.append(Row(f"{work} a target", found["ours"][work], peer, found[peer][work], goal))
    rows.append(Row("create a target", found["ours"]["create"], "the bare system calls of it", found["floor"]["create"]))
    return rows


def disk_rows(lab: Lab) -> list[Row]:
    """A private disk of an image of 10 GiB with some data: ours, and the image cloned and copied by cp."""
    rows = []
    for driver in ("reflink", "snapshot"):
        argv = [sys.executable, str(Path(__file__).parent / "inside" / "many_disks.py"), "/lab/disk/many", driver]
        environment = {"PYTHONPATH": str(ROOT)}
        found = json.loads(lab.run([*argv, str(DISKS), str(DATA_MIB)], env=environment, timeout=600).check())
        work, ours = f"a private disk by {driver}, of {DISKS} at once", found["made"] / DISKS
        rows.append(Row(work, ours, "goal", 0.05, 1.0))
        rows.append(Row(work, ours, "cp --reflink=always", found["cloned"]))
        rows.append(Row(work, ours, f"cp of {DATA_MIB} MiB", found["copied"]))
        rows.append(Row(f"remove it again, by {driver}", found["removed"] / DISKS))
    return rows


def _room(count: int, sessions: Sequence[str]) -> list[Document]:
    names = [f"b{number:03d}" for number in range(count)]
    machines = [machine(name, 100 + number) for number, name in enumerate(names)]
    return [network(), image(), *machines, *(session(name) for name in sessions)]


def session_rows(site: Site) -> list[Row]:
    """From the commit to Ready in the API, asked every 20 ms: one session at a time, then a hundred in one commit."""
    names = [f"b{number:03d}" for number in range(MANY)]
    site.apply(_room(MANY, []), seconds=120)
    single = [_commit_to_ready(site, _room(MANY, names[: number + 1]), names[number]) for number in range(SINGLE)]
    approve(site, site.commit(_room(MANY, [])))
    until("no target is left", lambda: not site.targets(), 120)
    began = time.monotonic()
    site.commit(_room(MANY, names))
    ready: dict[str, float] = {}

    def looked() -> bool:
        for one in site.ask("sessions", limit="200")["items"]:
            if one.get("status", {}).get("phase") == "Ready":
                ready.setdefault(one["metadata"]["name"], time.monotonic() - began)
        return len(ready) == MANY

    until("a hundred sessions are Ready", looked, 180, 0.05)
    began = time.monotonic()
    approve(site, site.commit(_room(MANY, [])))
    until("no target is left", lambda: not site.targets(), 180, 0.05)
    stopped = time.monotonic() - began
    p50, p95 = _percentiles(single)
    q50, q95 = _percentiles(list(ready.values()))
    return [
        Row("commit -> Ready, one session, p50", p50),
        Row("commit -> Ready, one session, p95", p95),
        Row("commit -> Ready, 100 at once, p50", q50),
        Row("commit -> Ready, 100 at once, p95", q95),
        Row("commit -> all 100 withdrawn (approved)", stopped),
    ]


def approve(site: Site, sha: str) -> None:
    """The prune guard holds a commit that removes so much; an operator says that it is meant."""
    if site.judged(sha)["verdict"] == "guarded":
        assert site.client.post(f"/api/v1/revisions/{sha}/approve").status_code == 200


def _commit_to_ready(site: Site, documents: list[Document], name: str) -> float:
    began = time.monotonic()
    site.commit(documents)

    def ready() -> bool:
        answer = site.client.get(f"/api/v1/sessions/{name}")
        return answer.status_code == 200 and answer.json().get("status", {}).get("phase") == "Ready"

    until(f"{name} is Ready", ready, 60, 0.02)
    return time.monotonic() - began


def drift_rows(site: Site) -> list[Row]:
    """From the moment that something is changed behind the daemon's back until it is as it was."""
    site.apply(_room(MANY, ["b000"]), seconds=120)
    site.ready("b000")
    tpg = f"{TARGETS}/{target('b000')}/tpgt_1"
    boot = script("52:54:00:00:00:64")
    kinds = {"TPG disabled": (f"{tpg}/enable", f"echo 0 >{tpg}/enable"), "boot script deleted": (boot, f"rm {boot}")}
    rows = []
    for what, (path, command) in kinds.items():
        found = []
        for _ in range(DRIFTS):
            with Changes(site, path) as seen:
                site.run(command).check()
                found.append(until(f"{what} is repaired", seen.repaired, 20, 0.05))
            time.sleep(random.uniform(0.0, 0.5))
        p50, p95 = _percentiles(found)
        rows += [Row(f"drift -> repaired, {what}, p50", p50), Row(f"drift -> repaired, {what}, p95", p95)]
    return rows


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    return statistics.median(values), sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def main() -> int:
    reasons = obstacles()
    if reasons:
        print(f"no figures from the lab: {'; '.join(reasons)}")
        return 0
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder) / "lab") as lab:
        rows = [*kernel_rows(lab), *disk_rows(lab)]
        site = Site(lab)
        site.open()
        rows += session_rows(site)
        rows += drift_rows(site)
        site.stop()
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
