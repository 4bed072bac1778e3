"""A copy of the objects is kept up by the change log, and a write is judged by one that nobody can get ahead of."""

from collections.abc import Sequence
from datetime import timedelta

import anyio
import pytest

from controller.adapters.store import SqlStore
from controller.ports.store import Gone, News, StatusWrite, Store
from tests.contracts.stores import API, NOW, machine, session, store

__all__ = ["store"]
pytestmark = pytest.mark.anyio


class Judge:
    """Refuses to have more than ``most`` objects; knows what was committed until then."""

    def __init__(self, known: int = 0, most: int = 100) -> None:
        self.known, self.most = known, most
        self.keys: set[str] = set()

    async def admit(self, news: Sequence[News]) -> None:
        self.keys |= {one.entry.key for one in news}
        self.known = max([self.known, *(one.entry.resource_version for one in news)])
        if len(self.keys) >= self.most:
            raise OverflowError(sorted(self.keys))


async def test_news_bring_each_change_with_the_object_as_it_stands(store: Store) -> None:
    await store.put([machine("pc1"), machine("pc2", 8), session("s1")], API, NOW)
    await store.put([machine("pc1", labels={"room": "lab"})], API, NOW)
    await store.mark_deleted(["Session/s1"], NOW)
    await store.remove("Session/s1", str((await store.get("Session/s1")).metadata.uid), NOW)
    news = await store.news(1)
    assert [one.entry for one in news] == await store.changes(1)
    assert [one.object for one in news] == [
        {one.key: one for one in (await store.list())[0]}.get(news_key) for news_key in (one.entry.key for one in news)
    ]
    assert news[-1].object is None
    assert not await store.news(await store.pulse())


async def test_news_bring_a_status(store: Store) -> None:
    await store.put([machine()], API, NOW)
    lease = await store.acquire("server", "a", NOW, 30)
    assert lease is not None
    uid = str((await store.get("Machine/pc1")).metadata.uid)
    await store.report(lease, statuses=[StatusWrite("Machine/pc1", uid, {"phase": "Ready"})])
    (one,) = await store.news(1)
    assert one.object is not None
    assert one.object.status is not None
    assert (one.entry.type, one.object.status.phase, one.object.metadata.resource_version) == ("MODIFIED", "Ready", 2)


async def test_news_that_were_trimmed_are_gone(store: Store) -> None:
    await store.put([machine(f"pc{number}") for number in range(200)], API, NOW)
    for since in (0, 201):
        with pytest.raises(Gone, match="list"):
            await store.news(since)
    assert len(await store.news(150)) == 50


async def test_the_pulse_rises_with_every_change(store: Store) -> None:
    beats = [await store.pulse()]
    for write in (store.put([machine()], API, NOW), store.annotate("Machine/pc1", {"a": "b"})):
        await write
        beats.append(await store.pulse())
    assert beats == [0, 1, 2]


async def test_a_refused_write_leaves_nothing(store: Store) -> None:
    await store.put([machine()], API, NOW)
    before = (await store.list(), await store.changes(0))
    with pytest.raises(OverflowError):
        await store.put([machine("pc2", 8)], API, NOW, admission=Judge(most=1))
    with pytest.raises(OverflowError):
        await store.mark_deleted(["Machine/pc1"], NOW, admission=Judge(most=1))
    assert (await store.list(), await store.changes(0)) == before


async def test_a_judge_who_knows_too_little_is_told(store: Store) -> None:
    await store.put([machine(f"pc{number}") for number in range(200)], API, NOW)
    with pytest.raises(Gone):
        await store.put([machine("more", 8)], API, NOW, admission=Judge(known=0))
    judge = Judge(known=199, most=1000)
    await store.put([machine("more", 8)], API, NOW, admission=judge)
    assert judge.keys == {"Machine/pc99"}


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def shared_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


async def test_no_two_writers_pass_a_check_that_both_together_fail(shared_url: str) -> None:
    """Two processes, each with its own judge who allows ten objects, want forty."""
    stores = [await SqlStore.open(shared_url) for _ in range(2)]
    refused = 0

    async def write(mine: SqlStore, judge: Judge, number: int) -> None:
        nonlocal refused
        try:
            await mine.put([machine(f"pc{number}")], API, NOW + timedelta(seconds=number), admission=judge)
        except OverflowError:
            refused += 1

    async with anyio.create_task_group() as tasks:
        for at, mine in enumerate(stores):
            judge = Judge(most=10)
            for number in range(20):
                tasks.start_soon(write, mine, judge, 100 * at + number)
    assert len((await stores[0].list())[0]) == 10
    assert refused == 30
    for one in stores:
        await one.close()
