"""Counting requests with ``limits``: in Redis for all processes, or in this one's memory.

A Redis that does not answer is not asked again for a few seconds; until then this process counts alone, so that no
request waits and none fails. Counts are fixed windows: a burst over a window's edge may be twice the limit.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from controller.ports.clock import Clock
from controller.ports.rates import Granted, Quota
from controller.ports.store import StoreError

T = TypeVar("T")
_ANSWER_SECONDS = 0.5
_PAUSE_SECONDS = 5.0
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


class Shared:
    """``Rates`` in Redis, and in memory while that does not answer."""

    def __init__(self, pool: ConnectionPool, clock: Clock) -> None:
        storage = RedisStorage("async+redis://", implementation="redispy", key_prefix="ggnet", connection_pool=pool)  # type: ignore[arg-type]
        self._pool, self._clock = pool, clock
        self._redis, self._memory = Counted(storage), Counted(Memory(clock))
        self._log = structlog.get_logger(part="rates")
        self._away_until, self._away = 0.0, False

    @classmethod
    async def open(cls, url: str, clock: Clock) -> "Shared":
        """StoreError, if it does not answer now."""
        try:
            pool = ConnectionPool.from_url(
                url,
                socket_timeout=_ANSWER_SECONDS,
                socket_connect_timeout=_ANSWER_SECONDS,
                retry=Retry(NoBackoff(), 1),  # a connection that a restart has closed
            )
        except ValueError as error:
            raise StoreError(f"GGNET_REDIS_URL is no address of a Redis: {error}") from None
        shared = cls(pool, clock)
        try:
            await shared._redis.storage.check()
            await shared._redis.take(Quota("start", 1_000_000, 1), "ggnet", 1)
        except (RedisError, OSError) as error:
            await shared.close()
            where = "{}:{}".format(pool.connection_kwargs.get("host", ""), pool.connection_kwargs.get("port", ""))
            raise StoreError(
                f"the Redis of GGNET_REDIS_URL ({where}) cannot be used: {error}; start it, or unset it"
            ) from error
        return shared

    async def take(self, quota: Quota, who: str, amount: int) -> Granted:
        return await self._either(
            lambda: self._redis.take(quota, who, amount), lambda: self._memory.take(quota, who, amount)
        )

    async def shared(self) -> bool | None:
        async def no() -> bool:
            return False

        return await self._either(self._redis.storage.check, no)

    async def close(self) -> None:
        await self._pool.disconnect()

    async def _either(self, ask: Callable[[], Awaitable[T]], instead: Callable[[], Awaitable[T]]) -> T:
        if self._clock.monotonic() < self._away_until:
            return await instead()
        try:
            answer = await ask()
        except (RedisError, OSError) as error:
            self._away_until = self._clock.monotonic() + _PAUSE_SECONDS
            if not self._away:
                self._log.warning("redis does not answer: every process counts requests alone", error=type(error).__name__)
            self._away = True
            return await instead()
        if self._away:
            self._log.info("redis answers again: all processes count requests together")
        self._away = False
        return answer
