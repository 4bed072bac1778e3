"""Wake-ups between processes: losing one costs latency, never a change."""

from collections.abc import Callable
from typing import Protocol


class Hints(Protocol):
    def tell(self) -> None:
        """Something was committed. Returns at once and never fails."""

    def heard(self, wake: Callable[[], None]) -> None:
        """From now on ``wake`` is called whenever somebody told, here or in another process."""

    async def run(self) -> None:
        """Carries them between processes, until cancelled."""
