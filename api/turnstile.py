"""Requests begin in the order in which they came, a few in each turn of the event loop.

What a thousand clients ask at one moment would otherwise all begin in one turn, and for that long nobody else is heard.
"""

import asyncio
from collections import deque
from collections.abc import Callable

_TURN = 4  # the longest beginnings take a millisecond each
SHORT = 32  # of those that take a tenth of one


class Turnstile:
    """Holds back beginnings alone: what waits for the store, or for its client, is in nobody's way."""

    def __init__(self, turn: int = _TURN) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._most = self._left = turn
        self._turning = False

    def enter(self, begin: Callable[[], None]) -> None:
        """``begin`` is called now, or in its turn."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)
        if self._left and not self._waiting:
            self._left -= 1
            begin()
        else:
            self._waiting.append(begin)

    def _turn(self) -> None:
        self._left = self._most
        while self._waiting and self._left:
            self._left -= 1
            self._waiting.popleft()()
        self._turning = self._left < self._most
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)
