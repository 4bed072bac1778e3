"""What is known of the host after a look at a few machines: theirs as it is, the others' as it was."""

from dataclasses import replace

import pytest

from controller.adapters.simulated.pool import MemoryPool
from controller.core.desired import Desired
from controller.core.names import Site
from controller.shell.observe import View
from tests.contracts.pool_bench import overlay_name
from tests.crash.world import World

pytestmark = pytest.mark.anyio


async def test_a_look_at_one_machine_renews_its_disks_and_leaves_those_of_others() -> None:
    pool = MemoryPool()
    host = replace(World().host(), pool=pool)
    old, new, others = (str(overlay_name(*who)) for who in (("pc1", "win11", 1), ("pc1", "win11", 2), ("pc10", "win11", 1)))
    pool.overlays |= {old: bytearray(512), others: bytearray(512)}
    view = View(Site())
    await view.sweep(host, Desired())
    pool.overlays[new] = bytearray(1024)
    del pool.overlays[old], pool.overlays[others]
    seen = await view.glance(host, Desired(), {"pc1"}, ())
    assert set(seen.pool.overlays) == {new}
    assert view.last is not None
    assert set(view.last.pool.overlays) == {new, others}
    await view.glance(host, Desired(), {"pc10"}, ())
    assert dict(view.last.pool.overlays) == dict((await view.sweep(host, Desired())).pool.overlays)
