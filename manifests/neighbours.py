"""Who a change concerns: the few objects of a set that must be looked at again when some of them change.

``references.check`` of the neighbourhood of a change finds what ``check`` of the whole set would find, if the set was
valid before: every problem lies between a changed object and one that names it, is named by it, or claims the same.
The neighbourhood is closed (a session brings its machine and its image along, all networks are always in it), so that
nothing in it looks as if it led nowhere. A changed network concerns every machine; networks change rarely.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping

from manifests.kinds import Object
from manifests.machine import Machine
from manifests.network import Network
from manifests.references import claimed
from manifests.session import Session


class Neighbours:
    """An index over the living objects of a set; ``note`` keeps it up with the set."""

    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self._ties: dict[str, tuple[Hashable, ...]] = {}
        self._tied: dict[Hashable, set[str]] = defaultdict(set)
        for one in objects:
            self.note(one.key, one)

    def note(self, key: str, now: Object | None) -> None:
        """This is how the object stands now; None (or marked deleted) once nobody may count on it."""
        for tie in self._ties.pop(key, ()):
            self._tied[tie].discard(key)
            if not self._tied[tie]:
                del self._tied[tie]
        if now is None or not _living(now):
            return
        self._ties[key] = ties = tuple(_ties(now))
        for tie in ties:
            self._tied[tie].add(key)

    def around(self, changed: Mapping[str, Object | None], standing: Mapping[str, Object]) -> list[Object]:
        """The changed objects as they would be (None: deleted), after all that a check of them needs, each sorted by key."""

        def found(key: str) -> Object | None:
            return changed[key] if key in changed else standing.get(key)

        keys = {*changed, *self._tied[_NETWORK]}
        if any(key.startswith("Network/") for key in changed):
            keys |= self._tied[_MACHINE]
        for key, one in changed.items():
            keys |= self._tied.get(key, set())
            for tie in _ties(one) if one is not None else ():
                keys |= self._tied.get(tie, set()) if tie not in _KINDS else set()
        for key in [*keys]:
            keys |= self._tied.get(key, set()) if key.startswith("Machine/") else set()
        for key in [*keys]:
            if isinstance(one := found(key), Session):
                keys |= set(_named(one))
        whole = ((key in changed, key, found(key)) for key in keys)
        return [one for _, _, one in sorted(whole, key=lambda row: row[:2]) if one is not None and _living(one)]


_NETWORK, _MACHINE = ("kind", "Network"), ("kind", "Machine")
_KINDS = (_NETWORK, _MACHINE)


def _living(one: Object) -> bool:
    return one.metadata.deleted_at is None


def _named(session: Session) -> tuple[str, ...]:
    images = dict.fromkeys(f"Image/{ref.image}" for _, ref in session.spec.images)
    return f"Machine/{session.spec.machine}", *images


def _ties(one: Object) -> Iterator[Hashable]:
    """What others may share with it or know it by: its kind, its claims, the keys that it names."""
    if isinstance(one, Network):
        yield _NETWORK
    elif isinstance(one, Machine):
        yield _MACHINE
        yield from ((what, value) for _, what, value in claimed(one))
    elif isinstance(one, Session):
        yield from _named(one)
