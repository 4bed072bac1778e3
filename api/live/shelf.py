"""The objects of one kind in the order of their names, so that a page of a list costs no look at all the others."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

from manifests.kinds import Object


class Shelf:
    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self._objects = {str(one.name): one for one in objects}
        self._names = sorted(self._objects)

    def put(self, name: str, item: Object | None) -> None:
        """In place of what has this name; None takes that away."""
        if item is not None:
            if name not in self._objects:
                insort(self._names, name)
            self._objects[name] = item
        elif self._objects.pop(name, None) is not None:
            del self._names[bisect_left(self._names, name)]

    def copy(self) -> "Shelf":
        """That goes on standing as it does now."""
        copied = Shelf()
        copied._objects, copied._names = self._objects.copy(), self._names.copy()
        return copied

    def __iter__(self) -> Iterator[Object]:
        return self.beyond(None)

    def beyond(self, name: str | None, *, falling: bool = False) -> Iterator[Object]:
        """In the order of the names, or against it, those that come after this name."""
        if falling:
            end = len(self._names) if name is None else bisect_left(self._names, name)
            names = reversed(self._names[:end])
        else:
            names = iter(self._names[0 if name is None else bisect_right(self._names, name) :])
        return (self._objects[one] for one in names)
