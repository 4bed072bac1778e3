"""How many objects of each kind are in which phase, kept up with every change: nobody counts them all to be told."""

from collections import Counter
from collections.abc import Sequence

from api.live.mirror import Change, Mirror
from manifests.kinds import Object


class Phases:
    """``counts`` by kind and phase, as far as the copy of the objects knows."""

    def __init__(self, mirror: Mirror) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._mirror = mirror
        mirror.published.append(self._note)

    def _note(self, changes: Sequence[Change]) -> None:
        if not changes:
            self.counts = Counter(_place(item) for item in self._mirror.objects.values())
        for change in changes:
            if change.before is not None:
                self.counts[_place(change.before)] -= 1
            if change.now is not None:
                self.counts[_place(change.now)] += 1


def _place(item: Object) -> tuple[str, str]:
    return item.kind, item.status.phase if item.status else "Pending"
