"""A sweep over a boot server on which nothing has to be done."""

from collections.abc import Iterator

import anyio

from controller.adapters.configfs import ConfigFs, KernelConfigFs
from controller.adapters.simulated.configfs import FakeConfigFs
from controller.adapters.store import SqlStore
from controller.shell.reconcile import Reconciler
from tests.bench.floors import Picture
from tests.bench.rows import Goal, Row, Turns
from tests.bench.stand import Stand

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
    yield _row(made, times, "sweep, nothing to do, with LIO", KernelConfigFs(made.tree), 1.7, _KERNEL)


def _row(made: Stand, times: int, work: str, fs: ConfigFs, goal: float, note: str) -> Row:
    taken = picture(made, kernel=True)
    turns = Turns()

    async def sweeps() -> None:
        store = await SqlStore.open(made.url)
        daemon = await made.reconciler(store, fs)
        await daemon.reconcile(None)
        await daemon.reconcile(None)
        for _ in range(times):
            await turns.wait("ours", lambda: _quiet(daemon))
            turns.run(1, floor=lambda: _still(taken))
        await store.release(daemon.lease)
        await store.close()

    anyio.run(sweeps)
    found = turns.samples
    floor_is = "read + compare the same files, rows, attributes"
    return Row(work, made.count, found["ours"], found["floor"], Goal("ratio", goal), floor_is, note=note)


async def _quiet(daemon: Reconciler) -> None:
    report = await daemon.reconcile(None)
    assert not report.results
    assert not report.machines


def _still(taken: Picture) -> None:
    assert taken.same()


__all__ = ["FakeConfigFs", "picture", "sweep_rows"]
