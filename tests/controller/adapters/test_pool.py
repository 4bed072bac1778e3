"""What a pool in a folder does where real files can go wrong: crashes, full disks, links, sources that change."""

import errno
import hashlib
import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from controller.adapters import devmapper, loops, pool_copy, pool_source
from controller.adapters.images.problem import SourceProblem
from controller.adapters.pool import PoolDir
from controller.core.choice import full
from controller.core.desired import Golden
from controller.core.observed import Observed, OverlayState
from controller.core.steps import ActivateOverlay, CommitOverlay, CreateOverlay, DeleteOverlay, ImportImage
from controller.ports.host import EffectFailed, EffectRefused
from tests.contracts.pool_bench import disk, mounted, overlay_name, why_no_mount, xfs
from tests.controller.adapters.images.disks import QEMU, image, raw_disk

pytestmark = pytest.mark.anyio
WIN = Golden("win11", "win11.raw")
IMPORT = ImportImage("win11", 1, "win11.raw")
MOUNTS = pytest.mark.skipif(why_no_mount() is not None, reason=str(why_no_mount()))


class Pool:
    """A pool in a folder, and the folders themselves."""

    def __init__(self, root: Path) -> None:
        self.root, self.imports = root, root / "imports"
        self.images, self.overlays = root / "images", root / "overlays"
        self.imports.mkdir(parents=True)
        self.dir = PoolDir(root, self.imports, reserve=0.0)

    def put(self, content: bytes, name: str = "win11.raw") -> Path:
        path = self.imports / name
        path.write_bytes(content)
        return path

    def hidden(self) -> list[str]:
        return [path.name for folder in (self.images, self.overlays) for path in folder.glob(".*")]

    async def source(self, golden: Golden = WIN) -> str:
        found = (await self.dir.observe([golden])).state.sources[golden.name]
        return str(found.problem) if found.stamp is None else "usable"


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Pool]:
    """Two megabytes in all, and no look ahead at how full it will be: another program may fill it at any moment."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as place:
        made = Pool(place / "pool")
        made.dir = PoolDir(made.root, made.imports, reserve=-1.0)
        yield made


async def test_a_pool_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    view = await PoolDir(tmp_path / "gone", tmp_path).observe([])
    assert view.unreadable == {"pool": f"the pool {tmp_path / 'gone'} is not there: make or mount that folder"}


@pytest.mark.parametrize(("free", "told"), [(149_999, "the pool has 14 % free"), (150_010, None), (159_999, None)])
async def test_the_pool_is_too_full_for_a_disk_below_the_very_share_that_is_kept(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, free: int, told: str | None
) -> None:
    space = os.statvfs_result((4096, 4096, 1_000_003, free, free, 0, 0, 0, 0, 255))
    monkeypatch.setattr("controller.adapters.pool.os.statvfs", lambda folder: space)
    found = full(Observed(pool=(await pool.dir.observe([WIN])).state))
    assert (found.message.partition(" and ")[0] if found else None) == told


async def test_golden_files_and_their_sidecars_may_be_read_and_not_written(pool: Pool) -> None:
    pool.put(disk(1))
    await pool.dir.import_image(IMPORT)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in pool.images.iterdir()} == {
        "win11@v1.raw": "0o440",
        "win11@v1.json": "0o440",
    }


async def test_holes_and_runs_of_zeros_take_no_space(pool: Pool) -> None:
    with pool.put(b"").open("r+b") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"x" * 4096 + bytes(8 << 20))
    await pool.dir.import_image(IMPORT)
    await pool.dir.create_overlay(CreateOverlay(overlay_name(), 64 << 20))
    assert (pool.images / "win11@v1.raw").stat().st_blocks * 512 < 3 << 20
    assert (pool.overlays / str(overlay_name())).stat().st_blocks * 512 < 3 << 20


# --- crashes ------------------------------------------------------------------------------------------------


async def test_a_raw_disk_that_is_copied_tells_how_far_it_is(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_copy, "clone", lambda source, made: False)
    pool.put(os.urandom(4 << 20))
    parts: list[float] = []
    assert await pool.dir.import_image(IMPORT, parts.append) == "copy"
    assert parts == [0.25, 0.5, 0.75, 1.0]


async def test_a_version_without_its_sidecar_is_not_seen_and_made_anew(pool: Pool) -> None:
    pool.put(disk(1))
    pool.images.mkdir()
    (pool.images / "win11@v1.raw").write_bytes(b"half")
    assert dict((await pool.dir.observe([])).state.images) == {}
    await pool.dir.import_image(IMPORT)
    assert (pool.images / "win11@v1.raw").read_bytes() == disk(1)


async def test_a_sidecar_without_its_version_is_not_seen_and_made_anew(pool: Pool) -> None:
    pool.put(disk(1))
    await pool.dir.import_image(IMPORT)
    (pool.images / "win11@v1.raw").unlink()
    assert dict((await pool.dir.observe([])).state.images) == {}
    await pool.dir.import_image(IMPORT)
    assert (pool.images / "win11@v1.raw").read_bytes() == disk(1)


@pytest.mark.parametrize("damage", ["not json", "{}", "[]", '{"sha256": "x", "size": 1, "source": {}}'])
async def test_a_damaged_sidecar_hides_nothing_and_nothing_is_replaced(pool: Pool, damage: str) -> None:
    pool.put(disk(1))
    await pool.dir.import_image(IMPORT)
    sidecar = pool.images / "win11@v1.json"
    sidecar.chmod(0o600)
    sidecar.write_text(damage)
    view = await pool.dir.observe([])
    assert "win11@v1.raw" in view.unreadable["win11"]
    with pytest.raises(EffectRefused) as refusal:
        await pool.dir.import_image(IMPORT)
    assert refusal.value.reason == "VersionUnreadable"
    assert (pool.images / "win11@v1.raw").read_bytes() == disk(1)


async def test_a_golden_file_of_another_size_than_its_sidecar_tells_is_unreadable(pool: Pool) -> None:
    pool.put(disk(1))
    await pool.dir.import_image(IMPORT)
    os.truncate(pool.images / "win11@v1.raw", 512)
    assert "win11" in (await pool.dir.observe([])).unreadable


async def test_what_a_crash_left_half_made_is_swept_by_the_next_process_and_nothing_else_is(pool: Pool) -> None:
    pool.put(disk(1))
    await pool.dir.import_image(IMPORT)
    pool.overlays.mkdir()
    strangers = [pool.overlays / "notes.txt", pool.images / ".hidden", pool.images / "other.tmp"]
    left = [pool.images / ".win11@v2.raw.0123456789ab.tmp", pool.overlays / ".pc07.os.0123456789ab.tmp"]
    for path in strangers + left:
        path.write_text("x")
    await PoolDir(pool.root, pool.imports, reserve=0.0).delete_overlay(DeleteOverlay(overlay_name()))
    assert [path for path in left if path.exists()] == []
    assert [path for path in strangers if not path.exists()] == []


async def test_a_cancelled_import_stops_and_leaves_nothing(pool: Pool) -> None:
    with pool.put(b"").open("r+b") as file:
        file.truncate(1 << 40)  # as zeros, this hashes for many minutes
    with anyio.move_on_after(0.3) as scope:
        await pool.dir.import_image(IMPORT)
    assert scope.cancelled_caught
    pool.put(disk(1))
    assert await eventually(lambda: pool.dir.import_image(IMPORT)) in ("copy", "reflink")
    assert pool.hidden() == []


async def test_no_two_make_the_next_version_of_an_image_at_once(pool: Pool) -> None:
    pool.put(disk(1))
    await pool.dir.import_image(IMPORT)
    await pool.dir.create_overlay(CreateOverlay(overlay_name(), len(disk(1))))
    with pool.put(b"", "endless.raw").open("r+b") as file:
        file.truncate(1 << 40)
    commit = CommitOverlay(overlay_name(), 2, "commit one", "pc07")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.dir.import_image, ImportImage("win11", 2, "endless.raw"))
        await anyio.sleep(0.1)
        with pytest.raises(EffectFailed) as failed:
            await pool.dir.commit_overlay(commit)
        tasks.cancel_scope.cancel()
    assert failed.value.reason == "Busy"
    assert await eventually(lambda: pool.dir.commit_overlay(commit)) in ("copy", "reflink")
    assert (pool.images / "win11@v2.raw").read_bytes() == disk(1)
    assert pool.hidden() == []


async def eventually(act: Callable[[], Awaitable[str]]) -> str:
    """Once the thread that was left behind has noticed."""
    for _ in range(500):
        try:
            return await act()
        except EffectFailed as failed:
            if failed.reason != "Busy":
                raise
            await anyio.sleep(0.01)
    raise TimeoutError


@pytest.fixture
def copying(tmp_path: Path) -> Iterator[Pool]:
    """Where no blocks can be shared, so that an import takes its time."""
    with mounted(tmp_path / "copying", "-t", "tmpfs", "-o", "size=64m", "tmpfs") as place:
        yield Pool(place / "pool")


@MOUNTS
async def test_a_source_that_changes_under_the_copy_is_not_imported(copying: Pool) -> None:
    pool = copying
    path = pool.put(disk(1) * 100)
    stop = threading.Event()

    def scribble() -> None:
        while not stop.is_set():
            with path.open("r+b") as file:
                file.write(os.urandom(512))

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        with pytest.raises(EffectFailed) as failed:
            await pool.dir.import_image(IMPORT)
    finally:
        stop.set()
        writer.join()
    assert failed.value.reason == "SourceChanged"
    assert list(pool.images.iterdir()) == []


# --- space --------------------------------------------------------------------------------------------------


@MOUNTS
async def test_a_full_pool_says_so_and_is_left_as_it_was(small: Pool) -> None:
    (small.root / "filler").write_bytes(bytes(1 << 20))
    small.put(os.urandom(700 << 10))
    with pytest.raises(EffectFailed) as failed:
        await small.dir.import_image(IMPORT)
    assert failed.value.reason == "PoolFull"
    assert list(small.images.iterdir()) == []


@MOUNTS
async def test_a_sidecar_whose_version_is_lost_vouches_for_no_other(small: Pool) -> None:
    small.put(disk(1))
    await small.dir.import_image(IMPORT)
    (small.images / "win11@v1.raw").unlink()
    small.put(os.urandom(1200 << 10))
    with pytest.raises(EffectFailed):
        await small.dir.import_image(IMPORT)
    assert list(small.images.iterdir()) == []


@MOUNTS
async def test_a_full_pool_makes_no_half_overlay(small: Pool) -> None:
    small.put(os.urandom(600 << 10))
    await small.dir.import_image(IMPORT)
    (small.root / "filler").write_bytes(bytes(700 << 10))
    with pytest.raises(EffectFailed) as failed:
        await small.dir.create_overlay(CreateOverlay(overlay_name(), 600 << 10))
    assert failed.value.reason == "PoolFull"
    assert list(small.overlays.iterdir()) == []


@MOUNTS
async def test_a_commit_in_a_full_pool_makes_no_half_version_keeps_the_disk_and_goes_on_once_there_is_room(
    small: Pool,
) -> None:
    small.put(os.urandom(400 << 10))
    await small.dir.import_image(IMPORT)
    await small.dir.create_overlay(CreateOverlay(overlay_name(), 400 << 10))
    kept = small.overlays / str(overlay_name())
    with kept.open("r+b") as file:
        file.write(b"acknowledged")
    (small.root / "filler").write_bytes(bytes(600 << 10))
    commit = CommitOverlay(overlay_name(), 2, "commit one", "pc07")
    with pytest.raises(EffectFailed) as failed:
        await small.dir.commit_overlay(commit)
    assert failed.value.reason == "PoolFull"
    assert sorted(path.name for path in small.images.iterdir()) == ["win11@v1.json", "win11@v1.raw"]
    assert kept.read_bytes().startswith(b"acknowledged")
    (small.root / "filler").unlink()
    await small.dir.commit_overlay(commit)
    assert (small.images / "win11@v2.raw").read_bytes() == kept.read_bytes()


@MOUNTS
async def test_no_session_is_begun_that_would_eat_into_the_reserve(small: Pool) -> None:
    small.put(os.urandom(600 << 10))
    await small.dir.import_image(IMPORT)
    careful = PoolDir(small.root, small.imports)
    (small.imports / "win11.raw").unlink()
    await careful.create_overlay(CreateOverlay(overlay_name("pc1"), 600 << 10))
    with pytest.raises(EffectRefused) as refusal:
        await careful.create_overlay(CreateOverlay(overlay_name("pc2"), 600 << 10))
    assert refusal.value.reason == "PoolReserve"
    assert "15%" in str(refusal.value)
    assert [path.name for path in small.overlays.iterdir()] == [str(overlay_name("pc1"))]


# --- links and other files ----------------------------------------------------------------------------------


def _folder(pool: Pool) -> None:
    (pool.imports / "win11.raw").mkdir()


def _link(pool: Pool) -> None:
    (pool.imports / "win11.raw").symlink_to("/etc/shadow")


def _fifo(pool: Pool) -> None:
    os.mkfifo(pool.imports / "win11.raw")


@pytest.mark.parametrize(
    ("make", "words"), [(_folder, "is a folder"), (_link, "symbolic link"), (_fifo, "is not a plain file")]
)
async def test_a_source_that_is_no_plain_file_is_refused(pool: Pool, make: Callable[[Pool], None], words: str) -> None:
    make(pool)
    assert words in await pool.source()
    with pytest.raises(EffectRefused, match=words):
        await pool.dir.import_image(IMPORT)


async def test_a_linked_folder_on_the_way_to_a_source_is_refused(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "win11.raw").write_bytes(disk(1))
    (pool.imports / "sub").symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in await pool.source(Golden("win11", "sub/win11.raw"))
    (pool.imports / "sub").unlink()
    (pool.imports / "sub").mkdir()
    (pool.imports / "sub" / "win11.raw").write_bytes(disk(1))
    assert await pool.source(Golden("win11", "sub/win11.raw")) == "usable"


@pytest.mark.parametrize("source", ["../pool/x", "/etc/passwd", "a//b", ".", "", "a/../b", "a\0b"])
async def test_a_source_outside_the_import_folder_is_refused(pool: Pool, source: str) -> None:
    assert "plain relative path" in await pool.source(Golden("win11", source))


HEADERS = {
    b"QFI\xfb": "SourceRefused",
    b"conectix": "SourceCorrupt",
    b"vhdxfile": "SourceCorrupt",
    b"KDMV": "SourceRefused",
    b"# Disk DescriptorFile\nversion=1": "SourceForeign",
    b"<<< Oracle VM": "SourceForeign",
    b"\x1f\x8b\x08": "SourceNotADisk",
}


@pytest.mark.parametrize("header", HEADERS)
async def test_what_is_no_disk_is_told_at_the_first_look_and_never_imported(pool: Pool, header: bytes) -> None:
    pool.put(header.ljust(1024, b"\0"))
    assert (await pool.source()).startswith("win11.raw: it is ")
    with pytest.raises(EffectRefused) as refusal:
        await pool.dir.import_image(IMPORT)
    assert refusal.value.reason == HEADERS[header]
    assert not pool.images.exists()


async def test_a_disk_that_is_declared_as_something_else_is_not_imported_as_that(pool: Pool) -> None:
    pool.put(disk(1))
    assert await pool.source(Golden("win11", "win11.raw", "vmdk")) == (
        "win11.raw: its content is raw, not vmdk: change spec.format"
    )


@QEMU
@pytest.mark.parametrize("kind", ["qcow2-zstd", "vhd-dynamic", "vhdx-dynamic", "vmdk-stream"])
async def test_an_image_becomes_a_version_with_the_size_and_the_digest_of_its_disk(
    pool: Pool, tmp_path: Path, kind: str
) -> None:
    plain = raw_disk(tmp_path / "disk.raw", 16 << 20, pieces=4)
    source = image(plain, kind, tmp_path).rename(pool.imports / "win11.raw")
    assert await pool.source() == "usable"
    assert await pool.dir.import_image(IMPORT) == "copy"
    made = (await pool.dir.observe([])).state.images["win11"][1]
    assert (made.size, made.sha256) == (16 << 20, hashlib.sha256(plain.read_bytes()).hexdigest())
    assert made.stamp.size == source.stat().st_size
    assert await pool.dir.import_image(IMPORT) == "copy", "it is there already"
    assert pool.hidden() == []


@QEMU
async def test_the_same_disk_in_another_format_is_no_new_version(pool: Pool, tmp_path: Path) -> None:
    plain = raw_disk(tmp_path / "disk.raw", 16 << 20, pieces=4)
    pool.put(plain.read_bytes())
    await pool.dir.import_image(IMPORT)
    pool.put(image(plain, "vhdx-dynamic", tmp_path).read_bytes())
    assert await pool.dir.import_image(ImportImage("win11", 2, "win11.raw")) == "unchanged"
    assert list((await pool.dir.observe([])).state.images["win11"]) == [1]


@QEMU
async def test_an_image_that_cannot_be_read_to_its_end_leaves_nothing(pool: Pool, tmp_path: Path) -> None:
    source = image(raw_disk(tmp_path / "disk.raw", 16 << 20, pieces=4), "qcow2-zlib", tmp_path)
    content = bytearray(source.read_bytes())
    content[5 << 16 : 6 << 16] = b"\xff" * (1 << 16)
    pool.put(bytes(content))
    with pytest.raises(EffectRefused, match=r"win11\.raw: it "):
        await pool.dir.import_image(IMPORT)
    assert list(pool.images.iterdir()) == []


@QEMU
@MOUNTS
async def test_a_pool_that_fills_up_while_an_image_is_converted_loses_nothing_and_recovers(
    small: Pool, tmp_path: Path
) -> None:
    small.put(image(raw_disk(tmp_path / "disk.raw", 16 << 20, pieces=3), "qcow2-zlib", tmp_path).read_bytes())
    (small.root / "filler").write_bytes(bytes(1100 << 10))
    with pytest.raises(EffectFailed) as failure:
        await small.dir.import_image(IMPORT)
    assert failure.value.reason == "PoolFull"
    assert small.hidden() == []
    (small.root / "filler").unlink()
    await small.dir.import_image(IMPORT)
    assert (small.images / "win11@v1.raw").read_bytes() == (tmp_path / "disk.raw").read_bytes()


@QEMU
@MOUNTS
async def test_a_conversion_that_would_take_the_reserve_is_refused_and_leaves_nothing(small: Pool, tmp_path: Path) -> None:
    small.dir = PoolDir(small.root, small.imports, reserve=0.7)
    small.put(image(raw_disk(tmp_path / "disk.raw", 16 << 20, pieces=2), "qcow2-zlib", tmp_path).read_bytes())
    with pytest.raises(EffectRefused) as refusal:
        await small.dir.import_image(IMPORT)
    assert refusal.value.reason == "PoolReserve"
    assert small.hidden() == []


async def test_links_in_the_pool_are_not_followed(pool: Pool, tmp_path: Path) -> None:
    pool.put(disk(1))
    await pool.dir.import_image(IMPORT)
    (tmp_path / "secret").write_bytes(disk(2))
    golden = pool.images / "win11@v1.raw"
    golden.unlink()
    golden.symlink_to(tmp_path / "secret")
    pool.overlays.mkdir()
    overlay = pool.overlays / str(overlay_name())
    overlay.symlink_to(tmp_path / "secret")
    view = await pool.dir.observe([])
    assert set(view.unreadable) == {"win11", overlay.name}
    with pytest.raises(EffectFailed):
        await pool.dir.create_overlay(CreateOverlay(overlay_name("pc8"), len(disk(1))))
    with pytest.raises(EffectRefused):
        await pool.dir.create_overlay(CreateOverlay(overlay_name(), len(disk(1))))
    await pool.dir.delete_overlay(DeleteOverlay(overlay_name()))
    assert not overlay.is_symlink()
    assert (tmp_path / "secret").read_bytes() == disk(2)


# --- parts --------------------------------------------------------------------------------------------------


def test_the_sidecar_is_plain_json(pool: Pool) -> None:
    source = pool.put(disk(1))
    anyio.run(pool.dir.import_image, IMPORT)
    told = json.loads((pool.images / "win11@v1.json").read_text())
    assert told["source"] == {"size": len(disk(1)), "mtime_ns": source.stat().st_mtime_ns}


@pytest.mark.parametrize("content", [b"x", bytes(3 << 20), b"a" * (1 << 20) + bytes(1 << 20) + b"b", bytes(100) + b"z"])
def test_a_copy_and_its_digest_are_right_for_any_pattern_of_zeros(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "from").write_bytes(content)
    with (tmp_path / "from").open("rb") as source, (tmp_path / "to").open("w+b") as made:
        pool_copy.copy(source.fileno(), made.fileno(), lambda call: None)
        assert pool_copy.digest(made.fileno(), lambda call: None) == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "to").read_bytes() == content


def test_a_source_path_is_walked_without_leaving_descriptors_open(pool: Pool) -> None:
    (pool.imports / "a" / "b").mkdir(parents=True)
    pool.put(disk(1), "a/b/x.raw")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pool_source.opened(pool.imports, "a/b/x.raw") as fd:
        assert pool_source.stamp(fd).size == len(disk(1))
    for bad in ("a/b/none", "a/none/x", "a/b", "a/b/x.raw/y"):
        with pytest.raises(SourceProblem), pool_source.opened(pool.imports, bad):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_answer_of_the_disk_is_told_with_its_name(pool: Pool) -> None:
    pool.put(disk(1))
    anyio.run(pool.dir.import_image, IMPORT)
    (pool.overlays).write_text("in the way")
    with pytest.raises(EffectFailed) as failed:
        anyio.run(pool.dir.create_overlay, CreateOverlay(overlay_name(), len(disk(1))))
    assert os.strerror(errno.ENOTDIR) in str(failed.value) or os.strerror(errno.EEXIST) in str(failed.value)


# --- drivers ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(Path("/dev/mapper/control").exists(), reason="here is a device-mapper: the lab's guest has the others")
async def test_snapshots_that_were_asked_for_and_cannot_be_made_are_refused_and_leave_nothing(pool: Pool) -> None:
    pool.dir = PoolDir(pool.root, pool.imports, reserve=0.0, driver="snapshot")
    pool.put(disk(1))
    await pool.dir.import_image(IMPORT)
    assert (await pool.dir.observe([])).state.driver == "snapshot"
    with pytest.raises(EffectRefused) as refusal:
        await pool.dir.create_overlay(CreateOverlay(overlay_name(form="cow"), len(disk(1))))
    assert (refusal.value.reason, "modprobe" in str(refusal.value)) == ("SnapshotsUnavailable", True)
    assert list(pool.overlays.iterdir()) == []


@MOUNTS
async def test_a_clone_that_was_asked_for_is_never_replaced_by_a_copy_and_a_copy_never_by_a_clone(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path / "tmpfs", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as plain, xfs(tmp_path) as shared:
        for place, driver, expected in ((plain, "reflink", None), (shared, "reflink", "reflink"), (shared, "copy", "copy")):
            pool = Pool(place / driver)
            pool.put(disk(1))
            pool.dir = PoolDir(pool.root, pool.imports, reserve=0.0, driver=driver)
            await pool.dir.import_image(IMPORT)
            action = CreateOverlay(overlay_name(), len(disk(1)))
            if expected is None:
                with pytest.raises(EffectRefused) as refusal:
                    await pool.dir.create_overlay(action)
                assert (refusal.value.reason, "GGNET_POOL_DRIVER" in str(refusal.value)) == ("DriverUnavailable", True)
                assert list(pool.overlays.iterdir()) == []
            else:
                assert await pool.dir.create_overlay(action) == expected


async def test_a_store_without_a_device_mapper_is_no_disk_and_can_be_deleted(pool: Pool) -> None:
    pool.put(disk(1))
    await pool.dir.import_image(IMPORT)
    pool.overlays.mkdir()
    store = pool.overlays / str(overlay_name(form="cow"))
    store.write_bytes(bytes(1 << 16))
    found = (await pool.dir.observe([])).state.overlays[store.name]
    assert (found.state, found.size, found.method) == (OverlayState.INACTIVE, len(disk(1)), "snapshot")
    await pool.dir.delete_overlay(DeleteOverlay(overlay_name(form="cow")))
    assert list(pool.overlays.iterdir()) == []


async def test_what_a_whole_file_takes_is_told_and_a_quiet_look_tells_the_very_same(pool: Pool) -> None:
    pool.put(os.urandom(1 << 20))
    await pool.dir.import_image(IMPORT)
    await pool.dir.create_overlay(CreateOverlay(overlay_name(), 4 << 20))
    [before] = (await pool.dir.observe([])).state.overlays.values()
    assert before.used == pytest.approx(1 << 20, rel=0.1)
    [again] = (await pool.dir.observe([])).state.overlays.values()
    assert again is before
    with (pool.overlays / str(overlay_name())).open("r+b") as file:
        file.seek(2 << 20)
        file.write(os.urandom(1 << 20))
    [after] = (await pool.dir.observe([])).state.overlays.values()
    assert after.used == pytest.approx(2 << 20, rel=0.1)


class Devices:
    """A device-mapper of snapshots that are remembered, on loop devices that are the kernel's own."""

    def __init__(self, patch: pytest.MonkeyPatch, ends: ExitStack) -> None:
        self.tables: dict[str, devmapper.Line | None] = {}
        self.ends = ends
        for name in ("create", "load", "resume", "remove", "line", "listing"):
            patch.setattr(devmapper, name, getattr(self, name))

    def create(self, name: str) -> None:
        self.tables[name] = None

    def load(self, name: str, sectors: int, kind: str, table: str) -> None:
        self.tables[name] = devmapper.Line(sectors, (kind, *table.split()))
        for device in table.split()[:2]:
            self.ends.enter_context(loops.opened(device))

    def resume(self, name: str) -> None: ...

    def remove(self, name: str) -> None:
        self.tables.pop(name, None)

    def line(self, name: str, *, table: bool = False) -> devmapper.Line:
        made_of = self.tables.get(name)
        if made_of is None:
            raise FileNotFoundError(name)
        return made_of if table else devmapper.Line(made_of.sectors, (made_of.words[0], "32/1024", "32"))

    def listing(self) -> dict[str, str]:
        return {name: f"252:{number}" for number, name in enumerate(self.tables)}


@pytest.mark.skipif(not os.access(loops.CONTROL, os.W_OK), reason="no loop devices here")
@pytest.mark.parametrize("linked", [False, True], ids=["a folder", "a link to a folder"])
async def test_snapshots_are_known_again_and_can_be_deleted_also_where_the_pool_is_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    if linked:
        (tmp_path / "disk").mkdir()
        (tmp_path / "pool").symlink_to(tmp_path / "disk")
    with ExitStack() as ends:
        devices = Devices(monkeypatch, ends)
        pool = Pool(tmp_path / "pool")
        pool.dir = PoolDir(pool.root, pool.imports, reserve=0.0, driver="snapshot")
        pool.put(disk(1))
        await pool.dir.import_image(IMPORT)
        name, other = overlay_name(form="cow"), overlay_name("pc08", form="cow")
        for one in (name, other):
            await pool.dir.create_overlay(CreateOverlay(one, len(disk(1))))
        assert len({line.words[1] for line in devices.tables.values() if line}) == 1, "one device of the golden file"
        for state in (await pool.dir.observe([WIN])).state.overlays.values():
            assert state.state is OverlayState.READY
        await pool.dir.activate_overlay(ActivateOverlay(name, len(disk(1)), durable=True))
        await pool.dir.delete_overlay(DeleteOverlay(name))
        assert (list(devices.tables), [path.name for path in pool.overlays.iterdir()]) == ([other.device], [str(other)])
