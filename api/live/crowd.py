"""How many live feeds each identity has open here: one that opens them without end would leave nobody else a connection."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from api.errors import TooManyFeeds


class Crowd:
    """``most`` of one identity at a time; 0: no limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """For as long as one is open. TooManyFeeds."""
        if self._most and self._open[name] >= self._most:
            raise TooManyFeeds(self._most)
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]
