"""Which sessions are there for a machine, those that are being withdrawn too."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from manifests.kinds import Object
from manifests.session import Session


class Seats:
    """``note`` keeps it up with the objects."""

    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self._at: defaultdict[str, set[str]] = defaultdict(set)
        for one in objects:
            self.note(None, one)

    def note(self, before: Object | None, now: Object | None) -> None:
        """An object as it was known until now, and as it stands."""
        if isinstance(before, Session):
            self._at[before.spec.machine].discard(before.key)
            if not self._at[before.spec.machine]:
                del self._at[before.spec.machine]
        if isinstance(now, Session):
            self._at[now.spec.machine].add(now.key)

    def of(self, machine: str) -> Iterator[str]:
        """Their keys, by the machine's name."""
        yield from sorted(self._at.get(machine, ()))
