"""The names in the overlays' folder, by machine, kept between looks: a folder that is as it was is not read again."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controller.adapters import ticks
from controller.core.names import OverlayName


@dataclass(frozen=True, slots=True)
class _Names:
    """``of`` are the overlays of each machine, ``carried`` how many there are of each image's versions."""

    stamp: ticks.Stamp | None = None
    all: frozenset[str] = frozenset()
    of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    carried: Mapping[str, Counter[int]] = field(default_factory=dict)


class Names:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = _Names()

    def refresh(self) -> None:
        """OSError; a folder that was never made, in a pool that is there, is empty."""
        tick = ticks.now()
        try:
            stamp = ticks.stamp(self._folder.stat(), tick)
            if stamp is None or stamp != self._known.stamp:
                self._known = _renewed(self._known, stamp, frozenset(os.listdir(self._folder)))  # noqa: PTH208 - names alone
        except FileNotFoundError:
            self._folder.parent.stat()
            self._known = _Names()

    def of(self, machines: Collection[str] | None) -> Iterable[str]:
        """Their overlays; None: all."""
        known = self._known.of
        chosen = known.values() if machines is None else (known.get(machine, ()) for machine in machines)
        return (text for texts in chosen for text in texts)

    def carried(self) -> dict[str, frozenset[int]]:
        """The versions of each image that an overlay is one of."""
        return {image: frozenset(versions) for image, versions in self._known.carried.items()}


def _renewed(known: _Names, stamp: ticks.Stamp | None, found: frozenset[str]) -> _Names:
    """Only what came and what went is looked at; nothing of ``known`` is changed, for another may be reading it."""
    came = _by_machine(found - known.all)
    went = _by_machine(known.all - found)
    of, carried = dict(known.of), {image: Counter(versions) for image, versions in known.carried.items()}
    for machine in came.keys() | went.keys():
        left = {*of.pop(machine, ()), *map(str, came[machine])} - {*map(str, went[machine])}
        if left:
            of[machine] = tuple(sorted(left))
    for each, sign in ((came, 1), (went, -1)):
        for name in (name for names in list(each.values()) for name in names):
            carried.setdefault(name.image, Counter())[name.version] += sign
    return _Names(stamp, found, of, {image: +versions for image, versions in carried.items() if +versions})


def _by_machine(texts: Iterable[str]) -> dict[str, list[OverlayName]]:
    names: dict[str, list[OverlayName]] = defaultdict(list)
    for text in texts:
        if name := OverlayName.parse(text):
            names[name.machine].append(name)
    return names
