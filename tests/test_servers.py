"""The servers that the tests stand on: stopped they refuse, started again they are who they were."""

import asyncpg
import pytest
import redis.asyncio as client

from tests.servers import postgres, redis


@pytest.mark.anyio
async def test_postgresql_keeps_what_was_committed_over_a_crash() -> None:
    with postgres() as server:
        url = await server.create("kept")
        await server.execute("CREATE TABLE t AS SELECT 7 AS n", url)
        server.stop(immediate=True)
        with pytest.raises(ConnectionRefusedError):
            await asyncpg.connect(url)
        server.start()
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT n FROM t") == 7
        await connection.close()


@pytest.mark.anyio
async def test_redis_forgets_over_a_restart_and_wants_its_password() -> None:
    with redis() as server:
        for again in range(2):
            if again:
                server.stop()
                server.start()
            async with client.from_url(server.url) as ours:
                assert await ours.get("k") is None
                await ours.set("k", "v")
        async with client.from_url(f"redis://127.0.0.1:{server.port}/0") as stranger:
            with pytest.raises(client.AuthenticationError):
                await stranger.ping()
