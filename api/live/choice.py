"""Which changes a listener is to hear of: what enters its selection is added to it, what leaves it is deleted."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from api.live.mirror import Change
from api.selectors import Matches, parse
from manifests.kinds import Object


class Wanted(Protocol):
    def __call__(self, key: str, item: Object | None, machine: Object | None = None, /) -> bool:
        """Whether a listener is to hear of this key with this object, or, with None, of the bare name of one that is
        gone; of a session as if its machine stood so."""

    def same(self) -> Hashable | None:
        """Equal for all who choose alike at this moment; None: what this one chooses depends on what it has heard."""


@dataclass(frozen=True, slots=True)
class Selection:
    """By kinds (none: all) and a label selector. Malformed."""

    kinds: frozenset[str] = frozenset()
    labels: str = ""
    _matches: Matches = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_matches", parse(self.labels))

    def __call__(self, key: str, item: Object | None, machine: Object | None = None, /) -> bool:
        if self.kinds and key.partition("/")[0] not in self.kinds:
            return False
        return item is None or self._matches(item.metadata.labels)

    def same(self) -> Hashable:
        return self


EVERYTHING = Selection()


def chosen(change: Change, wants: Wanted) -> Iterator[Change]:
    """The change as this listener should hear of it.

    Sessions that a machine takes along come before it, with the number before: whoever is cut off in between hears of
    them again.
    """
    for one in change.along:
        was, stands = (wants(one.key, one, machine) for machine in (change.before, change.now))
        if was and not stands:
            yield Change(change.version - 1, one.key, "DELETED", None, None)
        elif stands and not was and wants(one.key, one):
            yield Change(change.version - 1, one.key, "ADDED", one, None)
    mine = _itself(change, wants)
    if mine is not None:
        yield mine


def _itself(change: Change, wants: Wanted) -> Change | None:
    now, before, key, machine = change.now, change.before, change.key, change.machine
    if now is not None and wants(key, now, machine):
        entered = before is not None and not wants(key, before, machine)
        return replace(change, type="ADDED") if entered else change
    if now is None:
        return change if wants(key, before, machine) else None
    if change.type == "ADDED" or not wants(key, before, machine):
        return None
    return replace(change, type="DELETED", now=None)
