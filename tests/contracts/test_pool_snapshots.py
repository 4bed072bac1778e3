"""What the pool port promises of snapshots beyond other disks: in memory, and in the lab on a real kernel."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from controller.adapters import devmapper
from controller.adapters.clock import SystemClock
from controller.adapters.pool import PoolDir
from controller.adapters.pool_overlays import Overlays
from controller.adapters.pool_room import Room
from controller.adapters.pool_uses import Uses
from controller.adapters.workers import Job
from controller.core import names, space
from controller.core.names import OverlayName
from controller.core.observed import OverlayFile, OverlayState
from controller.core.steps import ActivateOverlay, CreateOverlay, DeleteOverlay, ImportImage
from controller.ports.host import EffectFailed, EffectRefused
from tests.contracts.pool_bench import LAB, Files, PoolBench, disk, ext4, memory_bench, snapshot_bench

pytestmark = pytest.mark.anyio
KERNEL = pytest.mark.skipif(not LAB, reason="no device-mapper to test on here: tests/lab runs these in its guest")
DISK = disk(1, 4096)  # 2 MiB
LIMIT = 1 << 19


@pytest.fixture(scope="module")
def plain_blocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with ext4(tmp_path_factory.mktemp("ext4")) as place:
        yield place


@pytest.fixture(params=["snapshot"] if LAB else ["memory"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PoolBench]:
    if request.param == "memory":
        yield memory_bench("snapshot")
    else:
        with snapshot_bench(request.getfixturevalue("plain_blocks") / tmp_path.name) as made:
            yield made


async def made(bench: PoolBench, *machines: str, limit: int = LIMIT) -> list[OverlayName]:
    bench.disks.put("win11.raw", DISK)
    await bench.pool.import_image(ImportImage("win11", 1, "win11.raw"))
    overlays = [bench.name(machine) for machine in machines]
    for name in overlays:
        assert await bench.pool.create_overlay(CreateOverlay(name, len(DISK), limit)) == "snapshot"
    return overlays


async def seen(bench: PoolBench, name: OverlayName) -> OverlayFile:
    return (await bench.state()).overlays[str(name)]


async def test_a_new_disk_is_as_large_as_its_image_and_may_write_what_was_asked_for(bench: PoolBench) -> None:
    [one] = await made(bench, "pc1")
    assert (await bench.state()).driver == "snapshot"
    assert await seen(bench, one) == OverlayFile(len(DISK), "snapshot", 0, LIMIT, durable=False)


async def test_after_a_restart_a_disk_is_there_and_not_active_until_it_is_activated_with_its_bytes(bench: PoolBench) -> None:
    one, two = await made(bench, "pc1", "pc2")
    bench.disks.scribble(one, b"written by pc1")
    bench.disks.restart()
    assert {(await seen(bench, name)).state for name in (one, two)} == {OverlayState.INACTIVE}
    for _ in range(2):
        await bench.pool.activate_overlay(ActivateOverlay(one, LIMIT))
    assert bench.disks.overlay(one) == b"written by pc1" + DISK[14:]
    assert ((await seen(bench, one)).state, (await seen(bench, two)).state) == (OverlayState.READY, OverlayState.INACTIVE)


async def test_creating_a_disk_that_is_not_active_activates_it(bench: PoolBench) -> None:
    [one] = await made(bench, "pc1")
    bench.disks.scribble(one, b"written by pc1")
    bench.disks.restart()
    assert await bench.pool.create_overlay(CreateOverlay(one, len(DISK), LIMIT)) == "snapshot"
    assert bench.disks.overlay(one).startswith(b"written by pc1")


async def test_a_disk_that_runs_full_hurts_no_other_and_goes_on_where_it_was_once_it_may_write_more(
    bench: PoolBench,
) -> None:
    one, two = await made(bench, "pc1", "pc2")
    bench.disks.scribble(one, b"written by pc1")
    bench.disks.scribble(two, b"written by pc2")
    told = bench.disks.fill(one)
    full = await seen(bench, one)
    assert full.state is OverlayState.FULL
    assert space.nearly(full.used, LIMIT)
    assert bench.disks.overlay(two) == b"written by pc2" + DISK[14:]
    held = bench.disks.overlay(one)
    assert held.startswith(told or b"written by pc1")
    await bench.pool.activate_overlay(ActivateOverlay(one, 2 * LIMIT))
    assert bench.disks.overlay(one) == held
    after = await seen(bench, one)
    assert (after.state, after.limit) == (OverlayState.READY, 2 * LIMIT)
    bench.disks.scribble(one, b"more")
    assert bench.disks.overlay(one).startswith(b"more")


async def test_a_limit_grows_under_a_disk_in_use_and_never_shrinks(bench: PoolBench) -> None:
    [one] = await made(bench, "pc1")
    with bench.disks.held(one):
        await bench.pool.activate_overlay(ActivateOverlay(one, 3 * LIMIT))
        assert (await seen(bench, one)).limit == 3 * LIMIT
        await bench.pool.activate_overlay(ActivateOverlay(one, LIMIT))
    assert await seen(bench, one) == OverlayFile(len(DISK), "snapshot", 0, 3 * LIMIT, durable=False)


async def test_whether_a_disk_is_written_through_is_changed_while_it_is_in_use(bench: PoolBench) -> None:
    [one] = await made(bench, "pc1")
    with bench.disks.held(one):
        for durable in (True, False) * 20:  # several within one tick of the clock that files are stamped by
            await bench.pool.activate_overlay(ActivateOverlay(one, LIMIT, durable))
            assert (await seen(bench, one)).durable is durable


async def test_a_disk_that_a_target_stands_on_is_neither_deleted_nor_taken_out(bench: PoolBench) -> None:
    [one] = await made(bench, "pc1")
    bench.disks.scribble(one, b"at work")
    with bench.disks.held(one):
        with pytest.raises(EffectFailed) as failed:
            await bench.pool.delete_overlay(DeleteOverlay(one))
        assert failed.value.reason == "InUse"
        assert (await seen(bench, one)).state is OverlayState.READY
        assert bench.disks.overlay(one).startswith(b"at work")
    await bench.pool.delete_overlay(DeleteOverlay(one))
    assert bench.disks.left() == []


async def test_a_device_whose_file_was_removed_is_told_and_goes_with_its_overlay_or_for_a_new_one(bench: PoolBench) -> None:
    one, two = await made(bench, "pc1", "pc2")
    for name in (one, two):
        bench.disks.scribble(name, b"lost")
        bench.disks.lose(name)
        assert (await seen(bench, name)).state is OverlayState.LOST
    await bench.pool.delete_overlay(DeleteOverlay(one))
    await bench.pool.create_overlay(CreateOverlay(two, len(DISK), LIMIT))
    assert set((await bench.state()).overlays) == {str(two)}
    assert bench.disks.overlay(two) == DISK


async def test_a_disk_without_its_image_is_stranded_can_be_deleted_and_says_what_is_missing(bench: PoolBench) -> None:
    [one] = await made(bench, "pc1")
    bench.disks.restart()
    bench.disks.lose_golden("win11", 1)
    assert (await seen(bench, one)).state is OverlayState.STRANDED
    with pytest.raises(EffectRefused) as refusal:
        await bench.pool.activate_overlay(ActivateOverlay(one, LIMIT))
    assert (refusal.value.reason, "win11@v1" in str(refusal.value)) == ("ImageMissing", True)
    await bench.pool.delete_overlay(DeleteOverlay(one))
    assert dict((await bench.state()).overlays) == {}


async def test_what_is_not_there_or_is_a_whole_file_is_not_activated(bench: PoolBench) -> None:
    await made(bench)
    for name in (bench.name("pc9"), replace(bench.name("pc9"), form="raw"), bench.name("../x")):
        with pytest.raises(EffectRefused):
            await bench.pool.activate_overlay(ActivateOverlay(name, LIMIT))
    assert bench.disks.left() == []


async def test_nothing_is_left_of_disks_that_were_deleted(bench: PoolBench) -> None:
    for name in await made(bench, "pc1", "pc2", "pc3"):
        await bench.pool.delete_overlay(DeleteOverlay(name))
    assert bench.disks.left() == []
    assert dict((await bench.state()).overlays) == {}


# --- crashes, on a real kernel ----------------------------------------------------------------------------------


class Dying(Job):
    """The process dies before the n-th call that may block."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def check(self, call: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash
        super().check(call)


class Crash(BaseException):
    """Nothing is cleaned up behind it."""


Act = Callable[[Overlays, OverlayName, Job], object]
ACTS: dict[str, Act] = {
    "create": lambda overlays, name, job: overlays.create(CreateOverlay(name, len(DISK), LIMIT), job),
    "activate": lambda overlays, name, job: overlays.activate(ActivateOverlay(name, 2 * LIMIT, durable=True), job),
    "grow": lambda overlays, name, job: overlays.activate(ActivateOverlay(name, 2 * LIMIT), job),
    "delete": lambda overlays, name, job: overlays.delete(DeleteOverlay(name), job),
}


@KERNEL
@pytest.mark.parametrize("act", ACTS)
async def test_a_crash_at_any_call_to_the_kernel_is_finished_or_undone_by_the_next_process(
    bench: PoolBench, act: str
) -> None:
    assert isinstance(bench.disks, Files)
    await made(bench)
    one = bench.name("pc1")
    for at in range(1, 40):
        if act != "create":
            await bench.pool.create_overlay(CreateOverlay(one, len(DISK), LIMIT))
            bench.disks.scribble(one, b"written by pc1")
        if act == "activate":
            bench.disks.restart()
        job = Dying(at)
        with suppress(Crash):
            room = Room(bench.disks.root, 0.0)
            ACTS[act](Overlays(room, "auto", Uses(room, SystemClock())), one, job)
        after = PoolDir(bench.disks.root, bench.disks.root / "imports", reserve=0.0)
        if act == "delete":
            await after.delete_overlay(DeleteOverlay(one))
        else:
            await after.create_overlay(CreateOverlay(one, len(DISK), 2 * LIMIT if act == "grow" else LIMIT))
            if act == "grow":
                assert (await seen(replace(bench, pool=after), one)).limit == 2 * LIMIT
            start = b"" if act == "create" else b"written by pc1"
            assert bench.disks.overlay(one) == start + DISK[len(start) :], at
            await after.delete_overlay(DeleteOverlay(one))
        assert (bench.disks.left(), list((bench.disks.root / "overlays").iterdir())) == ([], []), at
        if job.left > 0:
            return
    raise AssertionError("it never came to its end")


@KERNEL
async def test_what_a_crash_left_half_made_under_nobodys_name_is_swept_and_nothing_foreign_is(bench: PoolBench) -> None:
    foreign, ours = "vg0-root", bench.name("pc9").device
    for name in (foreign, ours):
        devmapper.create(name)
    try:
        await made(bench, "pc1")
        assert {ours, foreign} & set(devmapper.listing()) == {foreign}
    finally:
        devmapper.remove(foreign)


@KERNEL
async def test_all_disks_of_a_version_share_one_device_for_it_also_over_a_restart_of_the_controller(
    bench: PoolBench,
) -> None:
    assert isinstance(bench.disks, Files)
    await made(bench, "pc1", "pc2")
    again = PoolDir(bench.disks.root, bench.disks.root / "imports", reserve=0.0)
    async with anyio.create_task_group() as tasks:
        for number in range(3, 7):
            tasks.start_soon(again.create_overlay, CreateOverlay(bench.name(f"pc{number}"), len(DISK), LIMIT))
    origins = {devmapper.line(name, table=True).words[1] for name in filter(names.is_device, devmapper.listing())}
    assert len(origins) == 1
    assert sum("images" in path for path in bench.disks.left()) == 1
    for number in range(1, 7):
        await again.delete_overlay(DeleteOverlay(bench.name(f"pc{number}")))


@KERNEL
async def test_writes_that_a_full_pool_refused_take_nothing_from_what_was_written_before(
    bench: PoolBench, plain_blocks: Path
) -> None:
    """The kernel gives a store up that it could not write; once there is room it is taken up with all that was told done."""
    one, two = await made(bench, "pc1", "pc2", limit=len(DISK))
    bench.disks.scribble(one, b"written by pc1")
    bench.disks.scribble(two, b"written by pc2")
    filler = plain_blocks / "filler"
    with filler.open("wb") as file, suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(1 << 20))
    told = bench.disks.fill(one)
    assert (await seen(bench, one)).state is OverlayState.FULL
    filler.unlink()
    assert bench.disks.overlay(two).startswith(b"written by pc2")
    await bench.pool.activate_overlay(ActivateOverlay(one, len(DISK)))
    assert (await seen(bench, one)).state is OverlayState.READY
    assert 0 < len(told) < len(DISK)
    assert bench.disks.overlay(one).startswith(told)
