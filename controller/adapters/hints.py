"""Wake-ups within one process; between processes they go through Redis (``hints_redis``)."""

from collections.abc import Callable

import anyio

from controller.ports.clock import Clock
from controller.ports.hints import Hints

POLL_SECONDS = 0.5
_ALONE_SECONDS = 5.0


class LocalHints:
    """Answers ``Hints`` within this process. ``poll_seconds`` is long where nobody else can write."""

    def __init__(self, poll_seconds: float = POLL_SECONDS) -> None:
        self.poll_seconds = poll_seconds
        self._wakes: list[Callable[[], None]] = []

    def tell(self) -> None:
        for wake in self._wakes:
            wake()

    def heard(self, wake: Callable[[], None]) -> None:
        self._wakes.append(wake)

    async def run(self) -> None:
        await anyio.sleep_forever()


async def open_hints(url: str | None, clock: Clock, *, alone: bool = False) -> Hints:
    """``alone``: this process is the only one that writes. StoreError."""
    if url is None:
        return LocalHints(_ALONE_SECONDS if alone else POLL_SECONDS)
    from controller.adapters.hints_redis import RedisHints

    hints = RedisHints(url, clock)
    await hints.ping()
    return hints
