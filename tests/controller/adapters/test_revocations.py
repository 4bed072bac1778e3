"""Revocations with a real Redis beside the database: neither one's absence takes any of them back."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from controller.adapters.revocations import shared
from controller.adapters.store import SqlStore
from controller.ports.logins import Revocations
from controller.ports.store import StoreError
from tests.contracts.stores import NOW, later
from tests.servers import Redis, free_port, redis

pytestmark = pytest.mark.anyio


class Away:
    """A database that does not answer."""

    async def revoke(self, *_: object) -> None:
        raise StoreError("away")

    async def revoked(self, *_: object) -> dict[str, object]:
        raise StoreError("away")


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[SqlStore]:
    store = SqlStore(sqlite_url)
    yield store
    await store.close()


@pytest.fixture
async def both(redis_server: Redis, database: SqlStore, request: pytest.FixtureRequest) -> AsyncIterator[Revocations]:
    async with shared(redis_server.url, database, request.node.name) as found:
        yield found


async def test_another_replica_hears_of_it_while_the_database_is_away(both: Revocations, redis_server: Redis) -> None:
    await both.revoke(["j1"], NOW, later(60))
    async with shared(redis_server.url, Away(), "test_another_replica_hears_of_it_while_the_database_is_away") as other:  # type: ignore[arg-type]
        assert await other.revoked(later(1)) == {"j1": later(60)}
        assert await other.revoked(later(60)) == {}
        with pytest.raises(StoreError):
            await other.revoke(["j2"], NOW, later(60))
        assert await other.revoked(later(1)) == {"j1": later(60)}  # what the database did not take is not half revoked


async def test_a_redis_that_forgets_or_dies_takes_none_back(database: SqlStore) -> None:
    with redis() as server:
        async with AsyncExitStack() as stack:
            found = await stack.enter_async_context(shared(server.url, database, "s"))
            await found.revoke(["j1"], NOW, later(60))
            server.stop()
            assert await found.revoked(later(1)) == {"j1": later(60)}
            await found.revoke(["j2"], later(1), later(60))
            server.start()
            assert await found.revoked(later(2)) == {"j1": later(60), "j2": later(60)}
            await found.revoke(["j3"], later(2), later(60))
        async with shared(server.url, Away(), "s") as only:  # type: ignore[arg-type]
            assert await only.revoked(later(3)) == {"j3": later(60)}


async def test_neither_answering_is_said(database: SqlStore) -> None:
    with redis() as server:
        async with shared(server.url, Away(), "s") as found:  # type: ignore[arg-type]
            server.stop()
            with pytest.raises(StoreError):
                await found.revoked(NOW)


async def test_two_sites_on_one_redis_do_not_mix(redis_server: Redis, database: SqlStore) -> None:
    async with shared(redis_server.url, database, "mixed-a") as a, shared(redis_server.url, Away(), "mixed-b") as b:  # type: ignore[arg-type]
        await a.revoke(["j1"], NOW, later(60))
        assert await b.revoked(NOW) == {}


async def test_one_that_does_not_answer_at_start_is_an_error(database: SqlStore) -> None:
    for url in (f"redis://:secret@127.0.0.1:{free_port()}/0", "not a url"):
        with pytest.raises(StoreError, match="GGNET_REDIS_URL") as refused:
            async with shared(url, database, "s"):
                pass
        assert "secret" not in str(refused.value)
