"""What was made of the newest few of something large."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Newest(Generic[K, V]):
    """``make``, remembered for the newest arguments. The same argument is known without a look into it; one that equals
    another is compared once, and known from then on: to compare thousands of hosts takes longer than all else of a pass.
    """

    def __init__(self, make: Callable[[K], V], most: int) -> None:
        self._make, self._most = make, most
        self._kept: tuple[tuple[K, V], ...] = ()

    def __call__(self, key: K) -> V:
        for known, made in self._kept:
            if known is key:
                return made
        alike = [made for known, made in self._kept if hash(known) == hash(key) and known == key]
        made = alike[0] if alike else self._make(key)
        self._kept = ((key, made), *self._kept[: self._most - 1])  # replaced, for other threads may be reading it
        return made


def newest(most: int) -> Callable[[Callable[[K], V]], Newest[K, V]]:
    """As a decorator."""
    return lambda make: Newest(make, most)
