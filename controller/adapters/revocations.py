"""Revocations in Redis beside the database.

Each is written to both, the database first, and what either says holds: a Redis that lost its memory, or goes away, takes no
revocation back; and while the database is away, replicas still hear from each other.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from controller.ports.logins import Revocations
from controller.ports.store import StoreError

_SECONDS = 1.0
_ADVICE = "see that Redis answers there and that GGNET_REDIS_URL fits"


class SharedRevocations:
    """Answers ``Revocations``."""

    def __init__(self, redis: "Redis", database: Revocations, site: str) -> None:
        self._redis = redis
        self._database = database
        self._key = f"ggnet:{site}:revoked"
        self._well = True

    async def revoke(self, ids: Collection[str], now: datetime, until: datetime) -> None:
        await self._database.revoke(ids, now, until)
        if not ids:
            return
        try:
            async with self._redis.pipeline(transaction=True) as all_of_it:
                all_of_it.zadd(self._key, dict.fromkeys(ids, until.timestamp()))
                all_of_it.zremrangebyscore(self._key, "-inf", now.timestamp())
                await all_of_it.execute()
            self._answered()
        except (RedisError, OSError, TimeoutError) as error:
            self._missed(error)

    async def revoked(self, now: datetime) -> Mapping[str, datetime]:
        """StoreError, TimeoutError when neither answers."""
        shared = await self._shared(now)
        try:
            with anyio.fail_after(_SECONDS):
                return {**(shared or {}), **await self._database.revoked(now)}
        except (StoreError, TimeoutError):
            if shared is None:
                raise
            return shared

    async def _shared(self, now: datetime) -> Mapping[str, datetime] | None:
        """None when Redis does not answer."""
        try:
            rows: Any = await self._redis.zrangebyscore(self._key, f"({now.timestamp()}", "+inf", withscores=True)
        except (RedisError, OSError, TimeoutError) as error:
            self._missed(error)
            return None
        self._answered()
        return {id.decode(): datetime.fromtimestamp(until, UTC) for id, until in rows}

    def _answered(self) -> None:
        if not self._well:
            structlog.get_logger("revocations").info("redis answers again")
        self._well = True

    def _missed(self, error: Exception) -> None:
        """Said once, not every second."""
        if self._well:
            structlog.get_logger("revocations").warning("redis does not answer", error=type(error).__name__)
        self._well = False


@asynccontextmanager
async def shared(url: str, database: Revocations, site: str) -> AsyncIterator[SharedRevocations]:
    """StoreError when it does not answer now: one that is configured has to."""
    try:
        redis: Redis = Redis.from_url(url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS)
    except ValueError:
        raise StoreError(f"GGNET_REDIS_URL is not like redis://:PASSWORD@HOST:6379/0; {_ADVICE}") from None
    try:
        try:
            await redis.ping()
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreError(f"Redis does not answer ({type(error).__name__}); {_ADVICE}") from error
        yield SharedRevocations(redis, database, site)
    finally:
        with anyio.move_on_after(_SECONDS, shield=True):  # cut short, it would leave its connection open
            await redis.aclose()
