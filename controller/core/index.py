"""What was observed, grouped by machine once, so that no planner ever searches it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from controller.core.names import MACHINES_FOLDER, OverlayName
from controller.core.observed import Domain, Observed


@dataclass(frozen=True, slots=True)
class Index:
    """``overlays`` by machine, ``scripts`` (paths of ours) by machine; ``unread`` are machines with an overlay
    that cannot be read; ``standing`` are the versions, by image, that an overlay of any machine, whatever it is, is of."""

    observed: Observed
    overlays: Mapping[str, tuple[OverlayName, ...]]
    scripts: Mapping[str, tuple[str, ...]]
    unread: frozenset[str]
    standing: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, observed: Observed) -> "Index":
        overlays: dict[str, list[OverlayName]] = defaultdict(list)
        standing = {(image, version) for image, versions in observed.pool.carried.items() for version in versions}
        for text in sorted(observed.pool.overlays):
            if name := OverlayName.parse(text):
                overlays[name.machine].append(name)
                standing.add((name.image, name.version))
        scripts: dict[str, list[str]] = defaultdict(list)
        for path in sorted(observed.boot):
            found = observed.boot[path]
            if found.ours and found.machine is not None and path.startswith(MACHINES_FOLDER):
                scripts[found.machine].append(path)
        unread = (OverlayName.parse(key) for key in observed.unreadable)
        return cls(
            observed,
            {machine: tuple(names) for machine, names in overlays.items()},
            {machine: tuple(paths) for machine, paths in scripts.items()},
            frozenset(name.machine for name in unread if name),
            frozenset(standing),
        )

    def blind(self, domain: Domain, key: str) -> str | None:
        """Why nothing can be said of ``key``; None when it was read, and so is absent if it is not there."""
        return self.observed.unreadable.get(key) or self.observed.unreadable.get(domain)
