"""A line: so many at a time, the others in the order in which they came, for as long as each is willing to wait."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio


@dataclass(eq=False, slots=True)
class _Waiting:
    called: anyio.Event = field(default_factory=anyio.Event)
    refused: bool = False


class Turns:
    def __init__(self, places: int) -> None:
        self._free = places
        self._line: deque[_Waiting] = deque()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """TimeoutError when all who wait were sent away."""
        await self._come()
        try:
            yield
        finally:
            self._leave()

    def dismiss(self) -> None:
        """What they wait for is not to be had: nobody who comes later fares better than whoever found that out."""
        while self._line:
            one = self._line.popleft()
            one.refused = True
            one.called.set()

    async def _come(self) -> None:
        if self._free and not self._line:
            self._free -= 1
            return
        mine = _Waiting()
        self._line.append(mine)
        try:
            await mine.called.wait()
        except BaseException:
            if not mine.called.is_set():
                self._line.remove(mine)
            elif not mine.refused:
                self._leave()  # it was called while it went away
            raise
        if mine.refused:
            raise TimeoutError("no connection is to be had")

    def _leave(self) -> None:
        if self._line:
            self._line.popleft().called.set()
        else:
            self._free += 1
