"""What the pool port promises, in memory and on file systems with and without shared blocks; in the lab by snapshots."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters.pool import PoolDir
from controller.core.desired import Golden
from controller.core.observed import OverlayState
from controller.core.steps import CommitOverlay, CreateOverlay, DeleteOverlay, ImportImage
from controller.ports.host import EffectFailed, EffectRefused
from tests.contracts.pool_bench import (
    LAB,
    PoolBench,
    disk,
    ext4,
    folder_bench,
    memory_bench,
    mounted,
    snapshot_bench,
    why_no_mount,
    xfs,
)

pytestmark = pytest.mark.anyio
WIN = Golden("win11", "win11.raw")
IMPORT = ImportImage("win11", 1, "win11.raw")
MOUNTS = pytest.mark.skipif(why_no_mount() is not None, reason=str(why_no_mount()))


@pytest.fixture(scope="module")
def shared_blocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with xfs(tmp_path_factory.mktemp("xfs")) as place:
        yield place


@pytest.fixture(scope="module")
def plain_blocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with ext4(tmp_path_factory.mktemp("ext4")) as place:
        yield place


HERE = ["memory", "memory of snapshots", pytest.param("tmpfs", marks=MOUNTS), pytest.param("xfs", marks=MOUNTS)]


@pytest.fixture(params=["snapshot"] if LAB else HERE)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PoolBench]:
    if request.param.startswith("memory"):
        yield memory_bench("snapshot" if "snapshots" in request.param else "reflink")
    elif request.param == "snapshot":
        with snapshot_bench(request.getfixturevalue("plain_blocks") / tmp_path.name) as made:
            yield made
    elif request.param == "tmpfs":
        with mounted(tmp_path / "pool", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as place:
            yield folder_bench(place / "pool", "copy")
    else:
        yield folder_bench(request.getfixturevalue("shared_blocks") / tmp_path.name, "reflink")


async def test_an_import_is_the_source_byte_for_byte_and_says_how(bench: PoolBench) -> None:
    bench.disks.put("win11.raw", disk(1))
    assert await bench.pool.import_image(IMPORT) == bench.method
    state = await bench.state(WIN)
    made = state.images["win11"][1]
    assert (made.version, made.size, made.sha256) == (1, len(disk(1)), hashlib.sha256(disk(1)).hexdigest())
    assert made.stamp == state.sources["win11"].stamp
    assert bench.disks.golden("win11", 1) == disk(1)


async def test_an_import_done_twice_changes_nothing_the_second_time(bench: PoolBench) -> None:
    bench.disks.put("win11.raw", disk(1))
    first = await bench.pool.import_image(IMPORT)
    before = await bench.state(WIN)
    assert await bench.pool.import_image(IMPORT) == first
    after = await bench.state(WIN)
    assert (after.images, after.sources) == (before.images, before.sources)


async def test_a_changed_source_becomes_a_version_beside_the_first(bench: PoolBench) -> None:
    bench.disks.put("win11.raw", disk(1))
    await bench.pool.import_image(IMPORT)
    bench.disks.put("win11.raw", disk(2))
    assert await bench.pool.import_image(replace(IMPORT, version=2)) == bench.method
    assert set((await bench.state()).images["win11"]) == {1, 2}
    assert (bench.disks.golden("win11", 1), bench.disks.golden("win11", 2)) == (disk(1), disk(2))


async def test_a_touched_source_with_the_same_bytes_makes_no_version_and_is_known_from_then_on(bench: PoolBench) -> None:
    bench.disks.put("win11.raw", disk(1))
    await bench.pool.import_image(IMPORT)
    bench.disks.put("win11.raw", disk(1))
    before = await bench.state(WIN)
    assert before.images["win11"][1].stamp != before.sources["win11"].stamp
    assert await bench.pool.import_image(replace(IMPORT, version=2)) == "unchanged"
    after = await bench.state(WIN)
    assert set(after.images["win11"]) == {1}
    assert after.images["win11"][1].stamp == after.sources["win11"].stamp


async def test_a_version_is_never_written_twice(bench: PoolBench) -> None:
    bench.disks.put("win11.raw", disk(1))
    await bench.pool.import_image(IMPORT)
    bench.disks.put("win11.raw", disk(2))
    with pytest.raises(EffectFailed) as failed:
        await bench.pool.import_image(IMPORT)
    assert failed.value.reason == "VersionTaken"
    assert bench.disks.golden("win11", 1) == disk(1)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "is not there"), (b"", "is empty"), (b"\0x" * 350, "512"), (b"QFI\xfb" + bytes(508), "qcow2 image")],
)
async def test_a_source_that_is_no_disk_says_why_and_is_not_imported(
    bench: PoolBench, content: bytes | None, words: str
) -> None:
    if content is not None:
        bench.disks.put("win11.raw", content)
    source = (await bench.state(WIN)).sources["win11"]
    assert source.stamp is None
    assert words in str(source.problem)
    with pytest.raises(EffectRefused) as refusal:
        await bench.pool.import_image(IMPORT)
    assert words in str(refusal.value)
    assert dict((await bench.state()).images) == {}


async def test_an_overlay_starts_as_its_image_and_takes_writes_of_its_own(bench: PoolBench) -> None:
    bench.disks.put("win11.raw", disk(1))
    await bench.pool.import_image(IMPORT)
    one, two = bench.name("pc1"), bench.name("pc10")
    for name in (one, two):
        assert await bench.pool.create_overlay(CreateOverlay(name, len(disk(1)))) == bench.driver
    assert bench.disks.overlay(one) == disk(1)
    bench.disks.scribble(one, b"written by pc1")
    assert bench.disks.overlay(two) == disk(1)
    assert bench.disks.golden("win11", 1) == disk(1)
    state = await bench.state()
    assert {name: (file.size, file.method, file.state) for name, file in state.overlays.items()} == {
        str(name): (len(disk(1)), bench.driver, OverlayState.READY) for name in (one, two)
    }


async def test_creating_an_overlay_again_keeps_what_was_written_to_it(bench: PoolBench) -> None:
    bench.disks.put("win11.raw", disk(1))
    await bench.pool.import_image(IMPORT)
    action = CreateOverlay(bench.name(), len(disk(1)))
    await bench.pool.create_overlay(action)
    bench.disks.scribble(action.name, b"written")
    assert await bench.pool.create_overlay(action) == bench.driver
    assert bench.disks.overlay(action.name).startswith(b"written")
    with pytest.raises(EffectRefused) as refusal:
        await bench.pool.create_overlay(replace(action, size=action.size + 512))
    assert refusal.value.reason == "OverlayInTheWay"
    assert bench.disks.overlay(action.name).startswith(b"written")


async def test_an_overlay_may_be_larger_than_its_image_unless_it_is_a_snapshot_but_never_smaller(bench: PoolBench) -> None:
    bench.disks.put("win11.raw", disk(1))
    await bench.pool.import_image(IMPORT)
    larger = bench.name("larger")
    wrong = [len(disk(1)) - 512, len(disk(1)) + 100]
    if bench.driver == "snapshot":
        wrong.append(len(disk(1)) + 4096)
    else:
        await bench.pool.create_overlay(CreateOverlay(larger, len(disk(1)) + 4096))
        assert bench.disks.overlay(larger) == disk(1) + bytes(4096)
    for size in wrong:
        with pytest.raises(EffectRefused) as refusal:
            await bench.pool.create_overlay(CreateOverlay(bench.name("other"), size))
        assert refusal.value.reason == "OverlaySize"


async def test_an_overlay_of_an_image_that_is_not_there_is_refused(bench: PoolBench) -> None:
    with pytest.raises(EffectRefused) as refusal:
        await bench.pool.create_overlay(CreateOverlay(bench.name(), 512))
    assert refusal.value.reason == "ImageMissing"
    assert "win11@v1" in str(refusal.value)


async def test_deleting_an_overlay_leaves_the_others_and_can_be_done_twice(bench: PoolBench) -> None:
    bench.disks.put("win11.raw", disk(1))
    await bench.pool.import_image(IMPORT)
    one, ten = bench.name("pc1"), bench.name("pc10")
    for name in (one, ten):
        await bench.pool.create_overlay(CreateOverlay(name, len(disk(1))))
    for _ in range(2):
        await bench.pool.delete_overlay(DeleteOverlay(one))
        assert set((await bench.state()).overlays) == {str(ten)}


@pytest.mark.parametrize("text", ["../x", "a/b", "", ".", "a\0", "PC07", "a\n", "ｐc07", "a" * 300])
async def test_no_hostile_name_becomes_a_path(bench: PoolBench, text: str) -> None:
    bench.disks.put("win11.raw", disk(1))
    await bench.pool.import_image(IMPORT)
    for name in (bench.name(text), bench.name(image=text), replace(bench.name(), uid=text)):
        with pytest.raises(EffectRefused):
            await bench.pool.create_overlay(CreateOverlay(name, len(disk(1))))
        with pytest.raises(EffectRefused):
            await bench.pool.delete_overlay(DeleteOverlay(name))
    assert dict((await bench.state()).overlays) == {}


async def test_space_is_told_in_bytes(bench: PoolBench) -> None:
    state = await bench.state()
    assert 0 < state.free <= state.total


async def test_a_commit_makes_a_version_that_knows_its_parent_and_its_request(
    bench: PoolBench,
) -> None:
    bench.disks.put("win11.raw", disk(1))
    await bench.pool.import_image(IMPORT)
    name, parts = bench.name(), list[float]()
    await bench.pool.create_overlay(CreateOverlay(name, len(disk(1))))
    bench.disks.scribble(name, b"installed")
    commit = CommitOverlay(name, 2, "commit one", "pc07", author="api:ada", comment="with office")
    for _ in range(2):
        assert await bench.pool.commit_overlay(commit, parts.append) == bench.method
    wanted = b"installed" + disk(1)[9:]
    assert (bench.disks.golden("win11", 2), bench.disks.overlay(name)) == (wanted, wanted)
    assert bench.disks.golden("win11", 1) == disk(1)
    first, second = (await bench.state(WIN)).images["win11"].values()
    assert (second.sha256, second.identity) == (hashlib.sha256(wanted).hexdigest(), "commit one")
    assert second.stamp == first.stamp, "or its source would be imported again"
    if isinstance(bench.pool, PoolDir):
        assert (second.author, second.comment, second.parent) == ("api:ada", "with office", 1)
    bench.disks.scribble(name, b"afterwards")
    assert bench.disks.golden("win11", 2) == wanted


async def test_a_commit_takes_no_version_that_is_there_and_makes_none_of_nothing(bench: PoolBench) -> None:
    bench.disks.put("win11.raw", disk(1))
    await bench.pool.import_image(IMPORT)
    name = bench.name()
    with pytest.raises(EffectRefused) as refusal:
        await bench.pool.commit_overlay(CommitOverlay(name, 2, "commit one", "pc07"))
    assert refusal.value.reason == "OverlayMissing"
    await bench.pool.create_overlay(CreateOverlay(name, len(disk(1))))
    with pytest.raises(EffectFailed) as failed:
        await bench.pool.commit_overlay(CommitOverlay(name, 1, "commit one", "pc07"))
    assert failed.value.reason == "VersionTaken"
    assert list((await bench.state()).images["win11"]) == [1]


async def test_a_look_for_some_machines_has_their_overlays_and_knows_the_versions_that_any_carries(
    bench: PoolBench,
) -> None:
    names = [bench.name("pc1"), bench.name("pc10"), replace(bench.name("pc1", version=2), disk="games")]
    for seed in (1, 2):
        bench.disks.put("win11.raw", disk(seed))
        await bench.pool.import_image(replace(IMPORT, version=seed))
    for name in names[:2]:
        await bench.pool.create_overlay(CreateOverlay(name, len(disk(1))))

    async def look(*machines: str) -> tuple[set[str], dict[str, set[int]]]:
        view = await bench.pool.observe([], machines)
        assert dict(view.unreadable) == {}
        return set(view.state.overlays), {image: set(versions) for image, versions in view.state.carried.items()}

    assert await look("pc10") == ({str(names[1])}, {"win11": {1}})
    await bench.pool.create_overlay(CreateOverlay(names[2], len(disk(2))))
    assert await look("pc10") == ({str(names[1])}, {"win11": {1, 2}})
    assert await look("pc1", "pc7") == ({str(names[0]), str(names[2])}, {"win11": {1, 2}})
    await bench.pool.delete_overlay(DeleteOverlay(names[2]))
    assert await look("pc1") == ({str(names[0])}, {"win11": {1}})
    assert set((await bench.state()).overlays) == {str(name) for name in names[:2]}
