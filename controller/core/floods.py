"""Failures that somebody makes on purpose, told without filling the disk.

Of the same failure within a minute the 1st, 2nd, 4th, 8th ... is told, each with how many came since the one before; of
different ones the first few, and the rest as one. So a minute of any flood is a few dozen rows.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class Flood(Generic[K]):
    """``most``: different failures a window. A key of None stands for all beyond these."""

    seconds: float = 60.0
    most: int = 20
    _since: float = -math.inf
    _seen: dict[K | None, tuple[int, int]] = field(default_factory=dict)

    def count(self, key: K, now: float) -> Sequence[tuple[K | None, int]]:
        """What is to be told now: this failure, what is left of the window before, or nothing. ``now``: monotonic."""
        left: list[tuple[K | None, int]] = []
        if now >= self._since + self.seconds:
            left = [(old, total - told) for old, (total, told) in self._seen.items() if total > told]
            self._since, self._seen = now, {}
        mine = key if key in self._seen or len(self._seen) < self.most else None
        total, told = self._seen.get(mine, (0, 0))
        total += 1
        due = total & (total - 1) == 0
        self._seen[mine] = (total, total if due else told)
        return [*left, (mine, total - told)] if due else left
