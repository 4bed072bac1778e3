"""A sweep over a boot server on which nothing has to be done."""

import gc
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import anyio

from controller.adapters.configfs import KernelConfigFs
from controller.adapters.store import SqlStore
from controller.ports.host import Lio, LioState
from controller.shell.reconcile import Reconciler
from manifests.types import Iqn
from tests.bench.floors import Picture
from tests.bench.rows import Goal, Row, Turns
from tests.bench.stand import Stand

_STILL = "without LIO: the target answers at once what it answered before; the pool, the TFTP tree, dhcpd and rows are real"
_KERNEL = "LIO is read from a plain-directory tree of configfs' shape (tmpfs) through KernelConfigFs, not from a kernel"


def picture(made: Stand, *, kernel: bool) -> Picture:
    taken = Picture(
        machines=made.machines,
        files=[made.rig.include, made.rig.conf, *(path for path in (made.tftp / "ggnet").iterdir() if path.is_file())],
        overlays=made.pool / "overlays",
        database=made.rig.state / "ggnet.db",
        targets=made.tree / "target" if kernel else None,
    )
    taken.take()
    return taken


def sweep_rows(made: Stand, times: int) -> Iterator[Row]:
    yield _row(made, times, "sweep, nothing to do, without LIO", 1.6, _STILL, kernel=False)
    yield _row(made, times, "sweep, nothing to do, with LIO", 1.7, _KERNEL, kernel=True)


@dataclass(slots=True)
class Still:
    """A target that is looked at once, and then answers what it answered."""

    lio: Lio
    state: LioState | None = None

    async def observe(self, iqns: Collection[Iqn] | None) -> LioState:
        if self.state is None:
            self.state = await self.lio.observe(iqns)
        return self.state

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lio, name)


def _row(made: Stand, times: int, work: str, goal: float, note: str, *, kernel: bool) -> Row:
    taken = picture(made, kernel=kernel)
    turns = Turns()

    async def sweeps() -> None:
        store = await SqlStore.open(made.url)
        daemon = await made.reconciler(store, KernelConfigFs(made.tree))
        if not kernel:
            daemon.host = replace(daemon.host, lio=Still(daemon.host.lio))
        await daemon.reconcile(None)
        await daemon.reconcile(None)
        gc.collect()
        gc.freeze()  # what the benchmark itself holds is none of the daemon's burden
        for _ in range(times):
            await turns.wait("ours", lambda: _quiet(daemon))
            turns.run(1, floor=lambda: _still(taken))
        await store.release(daemon.lease)
        await store.close()

    anyio.run(sweeps)
    gc.unfreeze()
    found = turns.samples
    floor_is = "read + compare the same files, rows, attributes"
    return Row(work, made.count, found["ours"], found["floor"], Goal("ratio", goal), floor_is, note=note)


async def _quiet(daemon: Reconciler) -> None:
    report = await daemon.reconcile(None)
    assert not report.results
    assert not report.machines


def _still(taken: Picture) -> None:
    assert taken.same()
