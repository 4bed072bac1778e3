"""A sweep over a boot server that is as it must be: what it may ask for."""

import anyio

from tests.crash.world import World, settle, site


def test_a_quiet_sweep_reads_and_writes_no_object() -> None:
    calls: list[str] = []

    async def tell() -> None:
        world = World()
        await world.commit(site("pc1", "pc2", stopped=("pc3",)))
        daemon = await world.daemon(lambda when, call, subject: calls.append(call) if when == "before" else None)
        await settle(daemon)
        await settle(daemon)
        calls.clear()
        await daemon.reconcile(None)

    anyio.run(tell)
    stored = {"get", "fetch", "list", "orphans", "put", "write_statuses", "write_observations", "tell", "versions"}
    assert [call for call in calls if call in stored] == ["versions"]
