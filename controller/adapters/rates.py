"""Counting requests with ``limits``, in this process's memory.

Counts are fixed windows: a burst over a window's edge may be twice the limit.
"""

from limits import RateLimitItemPerSecond
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter

from controller.ports.clock import Clock
from controller.ports.rates import Granted, Quota

_KEPT = 50_000


class Memory(Storage):
    """Counts by key, of which the oldest go when there are too many.

    The library's own one starts a task over all keys with every count, which a stranger with many addresses would turn
    against us.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        count, until = self._live(key)
        if not count:
            self._counts.pop(key, None)  # a new window is the newest key
            until = self._clock.now().timestamp() + expiry
            self._trim()
        self._counts[key] = (count + amount, until)
        return count + amount

    async def get(self, key: str) -> int:
        return self._live(key)[0]

    async def get_expiry(self, key: str) -> float:
        return self._live(key)[1]

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        count = len(self._counts)
        self._counts.clear()
        return count

    async def clear(self, key: str) -> None:
        self._counts.pop(key, None)

    def _live(self, key: str) -> tuple[int, float]:
        now = self._clock.now().timestamp()
        count, until = self._counts.get(key, (0, 0.0))
        return (count, until) if until > now else (0, now)

    def _trim(self) -> None:
        if len(self._counts) >= _KEPT:
            for key in list(self._counts)[: _KEPT // 2]:
                del self._counts[key]


class Counted:
    """``Rates`` over one storage of the library's."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._strategy = FixedWindowRateLimiter(storage)

    async def take(self, quota: Quota, who: str, amount: int) -> Granted:
        item = RateLimitItemPerSecond(quota.limit, quota.seconds, namespace=f"ggnet/{quota.name}")
        left = (await self._strategy.get_window_stats(item, who)).remaining
        amount = min(amount, left)
        if amount and not await self._strategy.hit(item, who, cost=amount):
            amount = 0  # others were quicker
        stats = await self._strategy.get_window_stats(item, who)
        return Granted(amount, stats.remaining, stats.reset_time)

    async def shared(self) -> bool | None:
        return None

    async def close(self) -> None: ...
