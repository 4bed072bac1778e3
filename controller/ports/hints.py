"""Wake-ups between processes: losing one costs latency, never a change."""

from collections.abc import Callable
from typing import Protocol


class Hints(Protocol):
    @property
    def poll_seconds(self) -> float:
        """One who has heard nothing for so long looks for himself: soon, where others write who cannot be heard."""

    def tell(self) -> None:
        """Something was committed. Returns at once and never fails."""

    def heard(self, wake: Callable[[], None]) -> None:
        """From now on ``wake`` is called whenever somebody told, here or in another process."""

    async def run(self) -> None:
        """Carries them between processes, until cancelled."""
