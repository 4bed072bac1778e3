"""A sweep over a boot server that is as it must be: what it may ask for."""

import anyio

from tests.crash.sites import Pc, site
from tests.crash.world import World, settle


def test_a_quiet_sweep_reads_and_writes_no_object() -> None:
    calls: list[str] = []

    async def tell() -> None:
        world = World()
        await world.commit(site(Pc(1), Pc(2)))
        daemon = await world.daemon(lambda when, call, subject: calls.append(call) if when == "before" else None)
        await settle(daemon)
        await settle(daemon)
        for _ in range(3):  # what it said of the objects itself is read once more
            await daemon.reconcile(None)
        calls.clear()
        await daemon.reconcile(None)

    anyio.run(tell)
    stored = {"fetch", "orphans", "pulse", "put", "report", "tell", "versions"}
    assert [call for call in calls if call in stored] == ["pulse"]
