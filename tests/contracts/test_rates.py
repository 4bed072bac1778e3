"""Whoever counts requests, in memory and in a real Redis: never more than the limit, and never an error."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
import structlog.testing

from controller.adapters.clock import SystemClock
from controller.adapters.rates import Counted, Memory
from controller.adapters.rates_redis import Shared
from controller.bootstrap import stores
from controller.ports.rates import Quota, Rates
from controller.ports.store import StoreError
from controller.settings import Settings
from tests.servers import Redis, free_port

pytestmark = pytest.mark.anyio
TEN = Quota("ten", 10, 60)


@dataclass
class Two:
    """Two processes' counters; ``common`` where they count together."""

    one: Rates
    other: Rates
    common: bool


@pytest.fixture(params=["memory", "redis"])
async def two(request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    clock = SystemClock()
    if request.param == "memory":
        counted = Counted(Memory(clock))
        yield Two(counted, counted, common=True)
        return
    server: Redis = request.getfixturevalue("redis_server")
    one, other = [await Shared.open(server.url, clock) for _ in range(2)]
    await one._redis.storage.reset()
    yield Two(one, other, common=True)
    await one.close()
    await other.close()


async def test_the_sum_of_what_is_granted_is_the_limit(two: Two) -> None:
    granted = [(await rates.take(TEN, "ada", 4)) for rates in (two.one, two.other, two.one, two.other)]
    assert [one.amount for one in granted] == [4, 4, 2, 0]
    assert [one.left for one in granted] == [6, 2, 0, 0]
    now = SystemClock().now().timestamp()
    assert all(now + 50 < one.until <= now + 61 for one in granted)


async def test_whoever_asks_and_every_quota_is_counted_apart(two: Two) -> None:
    await two.one.take(TEN, "ada", 10)
    assert (await two.other.take(TEN, "ada", 1)).amount == 0
    assert (await two.other.take(TEN, "bob", 1)).amount == 1
    assert (await two.other.take(Quota("more", 11, 60), "ada", 1)).amount == 1


async def test_many_at_once_get_no_more_than_the_limit(two: Two) -> None:
    granted: list[int] = []

    async def take(rates: Rates) -> None:
        granted.append((await rates.take(TEN, "crowd", 1)).amount)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(take, two.one)
            tasks.start_soon(take, two.other)
    assert sum(granted) <= 10
    assert (len(granted), sum(granted) > 0) == (40, True)


async def test_a_new_window_begins_anew(two: Two) -> None:
    second = Quota("second", 3, 2)
    assert [(await two.one.take(second, "ada", 3)).amount, (await two.one.take(second, "ada", 3)).amount] == [3, 0]
    await anyio.sleep(2.2)
    assert (await two.other.take(second, "ada", 3)).amount == 3


async def test_a_stranger_with_many_addresses_fills_no_memory() -> None:
    memory = Memory(SystemClock())
    for number in range(120_000):
        await memory.incr(f"key{number}", 60)
    assert len(memory._counts) <= 50_000
    assert await memory.get("key119999") == 1


async def test_a_redis_that_goes_and_comes_is_told_once_each_and_nobody_waits(redis_server: Redis) -> None:
    class Quick(SystemClock):
        """In which the pause of a Redis that is away is over at once."""

        passed = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.passed

    clock = Quick()
    rates = await Shared.open(redis_server.url, clock)
    with structlog.testing.capture_logs() as logs:
        assert await rates.shared() is True
        redis_server.stop()
        try:
            with anyio.fail_after(15):
                granted = [(await rates.take(Quota("gone", 10, 60), "ada", 4)).amount for _ in range(4)]
            assert granted == [4, 4, 2, 0], "this process goes on counting"
            assert await rates.shared() is False
            clock.passed += 60
            assert (await rates.take(TEN, "bob", 1)).amount == 1
        finally:
            redis_server.start()
        assert await rates.shared() is False, "not asked again at once"
        clock.passed += 60
        assert await rates.shared() is True
    assert [(one["log_level"], one["event"].partition(":")[0]) for one in logs] == [
        ("warning", "redis does not answer"),
        ("info", "redis answers again"),
    ]
    assert redis_server.password not in str(logs)
    await rates.close()


async def test_the_configured_redis_is_asked_with_the_password_of_its_file(redis_server: Redis, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(redis_server.password + "\n")
    url = f"redis://127.0.0.1:{redis_server.port}/0"
    async with stores.open_rates(Settings(redis_url=url, redis_password_file=file)) as rates:
        assert await rates.shared() is True


@pytest.mark.parametrize("what", ["port", "password", "scheme"])
async def test_a_redis_that_does_not_answer_at_start_is_an_error(redis_server: Redis, what: str) -> None:
    url = {
        "port": f"redis://:hush-hush@127.0.0.1:{free_port()}/0",
        "password": f"redis://:hush-hush@127.0.0.1:{redis_server.port}/0",
        "scheme": "http://:hush-hush@127.0.0.1/",
    }[what]
    with pytest.raises(StoreError, match="GGNET_REDIS_URL") as error:
        await Shared.open(url, SystemClock())
    assert "hush" not in str(error.value)
