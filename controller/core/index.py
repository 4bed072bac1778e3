"""What was observed, grouped by machine once, so that no planner ever searches it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from controller.core.names import MACHINES_FOLDER, OverlayName
from controller.core.world import Domain, Observed


@dataclass(frozen=True, slots=True)
class Index:
    """``overlays`` by machine and disk, ``scripts`` (paths of ours) by machine; ``unread`` are machines with an overlay
    that cannot be read."""

    observed: Observed
    overlays: Mapping[tuple[str, str], tuple[OverlayName, ...]]
    scripts: Mapping[str, tuple[str, ...]]
    unread: frozenset[str]

    @classmethod
    def of(cls, observed: Observed) -> "Index":
        overlays: dict[tuple[str, str], list[OverlayName]] = defaultdict(list)
        for text in sorted(observed.pool.overlays):
            if name := OverlayName.parse(text):
                overlays[name.machine, name.disk].append(name)
        scripts: dict[str, list[str]] = defaultdict(list)
        for path in sorted(observed.boot):
            found = observed.boot[path]
            if found.ours and found.machine is not None and path.startswith(MACHINES_FOLDER):
                scripts[found.machine].append(path)
        unread = (OverlayName.parse(key) for key in observed.unreadable)
        return cls(
            observed,
            {disk: tuple(names) for disk, names in overlays.items()},
            {machine: tuple(paths) for machine, paths in scripts.items()},
            frozenset(name.machine for name in unread if name),
        )

    def blind(self, domain: Domain, key: str) -> str | None:
        """Why nothing can be said of ``key``; None when it was read, and so is absent if it is not there."""
        return self.observed.unreadable.get(key) or self.observed.unreadable.get(domain)
