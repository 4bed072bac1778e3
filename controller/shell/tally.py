"""What this controller has counted since it started, for whoever watches it.

It may be the one process of a server that nobody can ask, so it writes its counts beside the time of its last sweep, in
the same transaction: a row of the store, which any API shows.
"""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controller.core.observed import Domain, Observed
from controller.core.steps import LoadDhcp, Refused
from controller.shell.reconcile import Report
from controller.shell.tell import DRIFT

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ALL: frozenset[Domain] = frozenset({"pool", "lio", "tftp", "dhcp"})


@dataclass(slots=True)
class _Times:
    """A histogram: how many passes fell between two bounds, the last beyond all of them."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class Tally:
    """``verified`` is when the last look began that saw everything: whatever was not seen by it may be wrong since then."""

    passes: dict[str, _Times] = field(default_factory=lambda: {"sweep": _Times(), "keys": _Times()})
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    drift: int = 0
    restarts: int = 0
    verified: datetime | None = None

    def passed(self, report: Report, *, sweep: bool, seconds: float) -> None:
        self.passes["sweep" if sweep else "keys"].add(seconds)
        for result in report.results:
            action, outcome = type(result.step.action), result.outcome
            self.steps[action.__name__, type(outcome).__name__] += 1
            if sweep and result.step.cause == DRIFT:
                self.drift += 1
            if action is LoadDhcp and not isinstance(outcome, Refused):
                self.restarts += 1

    def looked(self, began: datetime, seen: Observed | None) -> None:
        if seen is not None and seen.complete >= _ALL and not seen.unreadable:
            self.verified = began

    def wire(self, seen: Observed | None, dirty: int, now: datetime) -> str:
        pool = seen.pool if seen is not None else None
        return json.dumps(
            {
                "at": now.isoformat(),
                "passes": {kind: {"counts": one.counts, "total": one.total} for kind, one in self.passes.items()},
                "buckets": BUCKETS,
                "steps": [[action, outcome, count] for (action, outcome), count in sorted(self.steps.items())],
                "drift": self.drift,
                "restarts": self.restarts,
                "verified": self.verified.isoformat() if self.verified else None,
                "dirty": dirty,
                "pool": {"free": pool.free, "total": pool.total} if pool is not None else None,
                "targets": _targets(seen),
            }
        )


def _targets(seen: Observed | None) -> Mapping[str, int]:
    return Counter(target.login.value for target in seen.targets.values()) if seen is not None else {}
