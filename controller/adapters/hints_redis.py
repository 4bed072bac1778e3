"""Wake-ups between processes, through Redis: imported where one is configured, for it takes memory and time.

A hint says nothing but "look": it is published without waiting, many at once as one, and one that gets lost is made up
for by the next look at the store. So Redis may go away and come back at any time.
"""

from collections.abc import Callable

import anyio
import structlog
from redis import asyncio as client
from redis.exceptions import RedisError

from controller.adapters.hints import POLL_SECONDS, LocalHints
from controller.ports.clock import Clock
from controller.ports.store import StoreError

log = structlog.get_logger()
_CHANNEL = "ggnet:hints"
_RETRY_SECONDS = 1.0
_CONNECT_SECONDS = 5.0
_CLOSE_SECONDS = 1.0


class RedisHints:
    """Answers ``Hints`` between the processes that share a Redis."""

    poll_seconds = POLL_SECONDS

    def __init__(self, url: str, clock: Clock) -> None:
        self._redis = client.from_url(url, socket_connect_timeout=_CONNECT_SECONDS, health_check_interval=15)
        self._clock = clock
        self._local = LocalHints()
        self._told = anyio.Event()

    async def ping(self) -> None:
        """StoreError when the configured Redis does not answer."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise StoreError(f"Redis does not answer ({reason}): start it, or correct or unset GGNET_REDIS_URL") from None

    def tell(self) -> None:
        self._local.tell()
        self._told.set()

    def heard(self, wake: Callable[[], None]) -> None:
        self._local.heard(wake)

    async def run(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._again, self._publish)
                tasks.start_soon(self._again, self._listen)
        finally:
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                await self._redis.aclose()

    async def _again(self, work: Callable[[], object]) -> None:
        """For as long as Redis comes and goes; said once each time that it goes."""
        lost = False
        while True:
            try:
                await work()  # type: ignore[misc]
            except (RedisError, OSError) as error:
                if not lost:
                    log.warning("redis lost", error=" ".join(str(error).split())[:200])
                lost = True
                await self._clock.sleep(_RETRY_SECONDS)
            else:
                lost = False

    async def _publish(self) -> None:
        await self._told.wait()
        self._told = anyio.Event()
        await self._redis.publish(_CHANNEL, b"")

    async def _listen(self) -> None:
        async with self._redis.pubsub() as channel:
            await channel.subscribe(_CHANNEL)
            self._local.tell()  # what was told while nobody listened
            while True:
                await channel.get_message(ignore_subscribe_messages=True, timeout=None)
                self._local.tell()
