"""What the pool promises of an image's versions: the day of their last use, and that none goes that anybody stands on."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import anyio
import pytest

from controller.core.observed import ImageFile
from controller.core.retention import dated
from controller.core.steps import (
    CommitOverlay,
    CreateOverlay,
    DeleteOverlay,
    DeleteVersion,
    ImportImage,
    NoteUse,
    ReleaseVersion,
)
from controller.ports.host import EffectFailed, EffectRefused
from tests.contracts.pool_bench import LAB, PoolBench, disk
from tests.contracts.test_pool import bench as bench
from tests.contracts.test_pool import plain_blocks as plain_blocks
from tests.contracts.test_pool import shared_blocks as shared_blocks

pytestmark = pytest.mark.anyio
IMPORT = ImportImage("win11", 1, "win11.raw")
DELETE = DeleteVersion("win11", 1)
MARCH = date(2026, 3, 1)


async def imported(bench: PoolBench, versions: int = 1) -> None:
    for version in range(1, versions + 1):
        bench.disks.put("win11.raw", disk(version))
        await bench.pool.import_image(replace(IMPORT, version=version))


async def there(bench: PoolBench) -> dict[int, ImageFile]:
    return dict((await bench.state()).images.get("win11", {}))


async def last_use(bench: PoolBench) -> date:
    return dated((await there(bench))[1].used)


async def test_a_version_that_nobody_stands_on_goes_and_says_what_it_took(bench: PoolBench) -> None:
    await imported(bench, 2)
    taken = (await there(bench))[1].taken
    assert 0 < await bench.pool.delete_version(DELETE) == taken
    assert set(await there(bench)) == {2}
    assert bench.disks.golden("win11", 2) == disk(2)
    assert await bench.pool.delete_version(DELETE) == 0


async def test_a_version_with_a_private_disk_stays_until_that_is_gone(bench: PoolBench) -> None:
    await imported(bench)
    await bench.pool.create_overlay(CreateOverlay(bench.name(), len(disk(1))))
    with pytest.raises(EffectFailed) as failed:
        await bench.pool.delete_version(DELETE)
    assert (failed.value.reason, str(bench.name()) in str(failed.value)) == ("InUse", True)
    assert bench.disks.golden("win11", 1) == disk(1)
    assert set(await there(bench)) == {1}
    await bench.pool.delete_overlay(DeleteOverlay(bench.name()))
    assert await bench.pool.delete_version(DELETE) > 0


async def test_a_version_that_is_open_stays_until_it_is_closed(bench: PoolBench) -> None:
    await imported(bench)
    with bench.disks.opened("win11", 1), pytest.raises(EffectFailed) as failed:
        await bench.pool.delete_version(DELETE)
    assert (failed.value.reason, "is open" in str(failed.value)) == ("InUse", True)
    assert (set(await there(bench)), bench.disks.golden("win11", 1)) == ({1}, disk(1))
    assert await bench.pool.delete_version(DELETE) > 0


async def test_a_number_can_be_made_again_after_its_version_has_gone(bench: PoolBench) -> None:
    await imported(bench)
    await bench.pool.delete_version(DELETE)
    bench.disks.put("win11.raw", disk(7))
    await bench.pool.import_image(IMPORT)
    assert bench.disks.golden("win11", 1) == disk(7)


@pytest.mark.parametrize("text", ["../x", "a/b", "", ".", "a\0", "WIN11", "a\n", "win11@v2", "a" * 300])
async def test_no_hostile_name_of_an_image_becomes_a_path(bench: PoolBench, text: str) -> None:
    await imported(bench)
    with pytest.raises(EffectRefused):
        await bench.pool.delete_version(DeleteVersion(text, 1))
    with pytest.raises(EffectRefused):
        await bench.pool.note_use(NoteUse(text, 1))
    with pytest.raises(EffectRefused):
        await bench.pool.delete_version(DeleteVersion("win11", -1))
    assert set(await there(bench)) == {1}


async def test_of_a_disk_that_is_made_while_its_version_goes_one_is_there_and_whole(bench: PoolBench) -> None:
    ends: set[str] = set()

    async def create(name: int) -> None:
        try:
            await bench.pool.create_overlay(CreateOverlay(bench.name(f"pc{name}"), len(disk(1))))
        except EffectRefused as refused:
            ends.add(refused.reason)

    async def delete() -> None:
        try:
            await bench.pool.delete_version(DELETE)
        except EffectFailed as failed:
            ends.add(failed.reason)

    for name in range(4 if LAB else 12):
        await imported(bench)
        async with anyio.create_task_group() as tasks:
            for start in (lambda: create(name), delete)[:: 1 if name % 2 else -1]:  # noqa: B023
                tasks.start_soon(start)
        made = bool((await bench.state()).overlays)
        assert made == (1 in await there(bench))
        if made:
            assert bench.disks.overlay(bench.name(f"pc{name}")) == disk(1)
            await bench.pool.delete_overlay(DeleteOverlay(bench.name(f"pc{name}")))
            await bench.pool.delete_version(DELETE)
    assert ends <= {"ImageMissing", "InUse"}
    assert ends


async def test_the_day_of_the_last_use_is_that_of_the_import_or_of_the_last_disk_that_was_made_or_removed(
    bench: PoolBench,
) -> None:
    await imported(bench)
    assert await last_use(bench) == MARCH
    bench.clock.later(days=3)
    assert await last_use(bench) == MARCH
    await bench.pool.create_overlay(CreateOverlay(bench.name(), len(disk(1))))
    assert await last_use(bench) == date(2026, 3, 4)
    bench.clock.later(minutes=1)  # past midnight
    await bench.pool.delete_overlay(DeleteOverlay(bench.name()))
    assert await last_use(bench) == date(2026, 3, 5)
    bench.clock.later(days=1)
    await bench.pool.note_use(NoteUse("win11", 1))
    assert await last_use(bench) == date(2026, 3, 6)


async def test_a_commit_is_a_use_of_its_base_and_of_what_it_makes_and_its_base_can_go_afterwards(bench: PoolBench) -> None:
    await imported(bench)
    await bench.pool.create_overlay(CreateOverlay(bench.name(), len(disk(1))))
    bench.clock.later(days=3)
    await bench.pool.commit_overlay(CommitOverlay(bench.name(), 2, "commit one", "pc07"))
    assert [dated(one.used) for one in (await there(bench)).values()] == [date(2026, 3, 4)] * 2
    await bench.pool.delete_overlay(DeleteOverlay(bench.name()))
    assert await bench.pool.delete_version(DELETE) > 0
    assert bench.disks.golden("win11", 2) == disk(1)


async def test_an_import_of_the_same_bytes_leaves_a_commit_what_it_was_known_by(bench: PoolBench) -> None:
    await imported(bench)
    await bench.pool.create_overlay(CreateOverlay(bench.name(), len(disk(1))))
    await bench.pool.commit_overlay(CommitOverlay(bench.name(), 2, "commit one", "pc07"))
    bench.disks.put("win11.raw", disk(1))
    assert await bench.pool.import_image(replace(IMPORT, version=3)) != "unchanged"
    assert {version: one.identity for version, one in (await there(bench)).items()} == {1: "", 2: "commit one", 3: ""}
    bench.disks.put("win11.raw", disk(1))
    assert await bench.pool.import_image(replace(IMPORT, version=4)) == "unchanged"


async def test_that_its_image_was_deleted_is_kept_with_a_version_until_it_is_declared_again(bench: PoolBench) -> None:
    await imported(bench, 2)
    before = (await there(bench))[1]
    assert before.released == 0
    bench.clock.later(days=1)
    await bench.pool.release_version(ReleaseVersion("win11", 1, 20_000))
    told = await there(bench)
    assert replace(told[1], released=0, used=before.used) == before
    assert (told[1].released, told[2].released) == (20_000, 0)
    await bench.pool.release_version(ReleaseVersion("win11", 1, 0))
    await bench.pool.release_version(ReleaseVersion("win11", 7, 20_000))
    assert {version: one.released for version, one in (await there(bench)).items()} == {1: 0, 2: 0}
    with pytest.raises(EffectRefused):
        await bench.pool.release_version(ReleaseVersion("../x", 1, 20_000))


@pytest.fixture
def noted(bench: PoolBench) -> tuple[PoolBench, Path]:
    """A pool of files, with the place of the sidecar."""
    root = getattr(bench.disks, "root", None)
    if root is None:
        pytest.skip("there are no files in memory")
    return bench, root / "images/win11@v1.json"


async def test_a_use_is_noted_once_a_day_and_outlives_the_process(noted: tuple[PoolBench, Path]) -> None:
    bench, sidecar = noted
    await imported(bench)
    bench.clock.later(days=1, hours=-12)
    await bench.pool.note_use(NoteUse("win11", 1))
    first = sidecar.stat()
    bench.clock.later(hours=3)
    await bench.pool.note_use(NoteUse("win11", 1))
    assert sidecar.stat().st_ctime_ns == first.st_ctime_ns
    assert await last_use(bench) == date(2026, 3, 2)
    assert dated(int(sidecar.stat().st_mtime) // 86400) == date(2026, 3, 2)


async def test_a_version_of_before_uses_were_noted_has_none_that_is_known(noted: tuple[PoolBench, Path]) -> None:
    bench, sidecar = noted
    await imported(bench)
    told = sidecar.read_text()
    sidecar.unlink()
    sidecar.write_text(told.replace(', "uses": "mtime"', ""))
    assert (await there(bench))[1].used == 0
