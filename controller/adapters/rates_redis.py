"""Counting requests in Redis, for all processes.

A Redis that does not answer is not asked again for a few seconds; until then this process counts alone, so that no
request waits and none fails.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from controller.adapters.rates import Counted, Memory
from controller.ports.clock import Clock
from controller.ports.rates import Granted, Quota
from controller.ports.store import StoreError

T = TypeVar("T")
_ANSWER_SECONDS = 0.5
_PAUSE_SECONDS = 5.0


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
