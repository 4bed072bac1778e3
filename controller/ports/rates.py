"""What we ask of whoever counts requests: one count for all processes of an installation, or for this one alone."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Quota:
    """``limit`` requests in ``seconds``, counted apart from every other quota's by its ``name``."""

    name: str
    limit: int
    seconds: int = 60


@dataclass(frozen=True, slots=True)
class Granted:
    """``amount`` may be used until ``until`` (seconds since the epoch); ``left`` can still be had after it."""

    amount: int
    left: int
    until: float


class Rates(Protocol):
    """Never raises: who cannot ask all counts alone, and says so in the log once."""

    async def take(self, quota: Quota, who: str, amount: int) -> Granted:
        """So many, or as many as there are left: the sum of what is granted in a window is never above its limit."""

    async def shared(self) -> bool | None:
        """Whether all processes count together now; None where that was never asked for."""

    async def close(self) -> None: ...
