"""Sources of every format and place become versions; what is not what it says it is becomes none."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from controller.adapters.pool import PoolDir
from controller.core.desired import Golden
from controller.core.steps import DiscardSource, ImportImage
from controller.ports.host import EffectRefused
from tests.controller.adapters.images.disks import KINDS, MIB, QEMU, Kind, raw_disk

pytestmark = [pytest.mark.anyio, QEMU]
UPLOAD = "0d5e0a2e8f0b4a2e9b7e2f6f0c1d2e3f"


@pytest.fixture
def pool(tmp_path: Path) -> PoolDir:
    for name in ("imports", "uploads"):
        (tmp_path / name).mkdir()
    return PoolDir(tmp_path, tmp_path / "imports", reserve=0.0)


def made(kind: Kind, tmp_path: Path, at: str) -> Path:
    """An image of this kind at that place, and the raw disk that it holds."""
    disk = raw_disk(tmp_path / "disk.raw", 64 * MIB)
    subprocess.run(["qemu-img", "convert", "-f", "raw", *kind.options, disk, tmp_path / at], check=True)
    return disk


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["qcow2-v3", "vhd-dynamic", "vhdx-dynamic", "vmdk-sparse"])
async def test_an_image_of_another_format_becomes_the_raw_disk_that_it_holds(
    pool: PoolDir, tmp_path: Path, name: str
) -> None:
    disk, parts = made(KINDS[name], tmp_path, "imports/win11.img"), list[float]()
    action = ImportImage("win11", 1, "win11.img", author="api:ada", comment="the first", parent=None)
    assert await pool.import_image(action, parts.append) == "copy"
    version = tmp_path / "images/win11@v1.raw"
    assert digest(version) == digest(disk)
    assert version.stat().st_blocks * 512 < 40 * MIB
    assert parts
    assert max(parts) == 1.0
    (found,) = (await pool.observe([Golden("win11", "win11.img")])).state.images["win11"].values()
    assert (found.sha256, found.size, found.author, found.comment) == (digest(disk), 64 * MIB, "api:ada", "the first")
    assert (found.format, found.remark, "limits" in found.layers) == (name.partition("-")[0], None, True)


async def test_what_is_no_disk_that_is_known_is_told_with_its_version(pool: PoolDir, tmp_path: Path) -> None:
    (tmp_path / "imports/data.raw").write_bytes(bytes(MIB))
    await pool.import_image(ImportImage("data", 1, "data.raw"))
    (found,) = (await pool.observe([Golden("data", "data.raw")])).state.images["data"].values()
    remark = "it begins with zeros: it is taken as a data disk, no PC boots from it"
    assert (found.format, found.remark, found.layers) == ("raw", remark, ())


async def test_an_upload_is_a_source_and_its_version_outlives_it(pool: PoolDir, tmp_path: Path) -> None:
    golden = Golden("win11", UPLOAD, origin="upload")
    view = await pool.observe([golden])
    assert view.state.sources["win11"].problem == (
        f"upload {UPLOAD} is not finished, was discarded, or was imported already"
    )
    disk = made(KINDS["qcow2-v3"], tmp_path, f"uploads/{UPLOAD}")
    assert (await pool.observe([golden])).state.sources["win11"].problem is None
    await pool.import_image(ImportImage("win11", 1, UPLOAD, origin="upload"))
    (found,) = (await pool.observe([golden])).state.images["win11"].values()
    assert (found.sha256, found.identity) == (digest(disk), golden.identity)


async def test_an_upload_is_removed_only_once_a_version_of_it_is_there(pool: PoolDir, tmp_path: Path) -> None:
    discard, uploads = DiscardSource(f"upload {UPLOAD}"), tmp_path / "uploads"
    made(KINDS["qcow2-v3"], tmp_path, f"uploads/{UPLOAD}")
    for name in (f"{'1' * 32}.part", ".folder", "README"):
        (uploads / name).write_text("not whole, or nobody's")
    assert (await pool.observe([])).state.brought == {discard.identity}
    for other in (discard, DiscardSource("upload .."), DiscardSource("upload README"), DiscardSource(f"upload {'1' * 32}")):
        with pytest.raises(EffectRefused, match="no version was made of it") as refused:
            await pool.discard_source(other)
        assert refused.value.reason == "SourceNeeded"
    await pool.import_image(ImportImage("win11", 1, UPLOAD, origin="upload"))
    await pool.discard_source(discard)
    state = (await pool.observe([])).state
    assert (state.brought, set(state.images["win11"])) == (frozenset(), {1})
    assert sorted(path.name for path in uploads.iterdir()) == [".folder", f"{'1' * 32}.part", "README"]


async def test_uploads_elsewhere_may_be_other_servers_to_import_and_stay(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "uploads").mkdir()
    (tmp_path / "pool/uploads").symlink_to(tmp_path / "uploads")
    disk = made(KINDS["qcow2-v3"], tmp_path, f"uploads/{UPLOAD}")
    for folder in (tmp_path / "uploads", tmp_path / "pool/uploads"):
        pool = PoolDir(tmp_path / "pool", tmp_path, uploads=folder, reserve=0.0)
        await pool.import_image(ImportImage("win11", 1, UPLOAD, origin="upload"))
        assert (await pool.observe([])).state.brought == frozenset()
        with pytest.raises(EffectRefused):
            await pool.discard_source(DiscardSource(f"upload {UPLOAD}"))
    assert disk.with_name("uploads").joinpath(UPLOAD).exists()


async def test_a_source_that_is_not_what_its_digest_says_becomes_no_version(pool: PoolDir, tmp_path: Path) -> None:
    raw_disk(tmp_path / "imports/win11.raw", 4 * MIB)
    with pytest.raises(EffectRefused, match="not that of") as refused:
        await pool.import_image(ImportImage("win11", 1, "win11.raw", sha256="0" * 64))
    assert refused.value.reason == "DigestMismatch"
    right = digest(tmp_path / "imports/win11.raw")
    await pool.import_image(ImportImage("win11", 1, "win11.raw", sha256=right))
    assert digest(tmp_path / "images/win11@v1.raw") == right


async def test_a_source_of_another_format_than_was_said_is_told_before_it_is_imported(pool: PoolDir, tmp_path: Path) -> None:
    made(KINDS["qcow2-v3"], tmp_path, "imports/win11.img")
    view = await pool.observe([Golden("win11", "win11.img", "vhdx")])
    assert view.state.sources["win11"].problem == ("win11.img: its content is qcow2, not vhdx: change spec.format")
    with pytest.raises(EffectRefused, match="not vhdx"):
        await pool.import_image(ImportImage("win11", 1, "win11.img", "vhdx"))


async def test_an_import_that_is_cut_leaves_nothing(pool: PoolDir, tmp_path: Path) -> None:
    made(KINDS["qcow2-v3"], tmp_path, "imports/win11.img")

    def stop(part: float) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="make the pool larger"):
        await pool.import_image(ImportImage("win11", 1, "win11.img"), stop)
    assert [path.name for path in (tmp_path / "images").iterdir()] == []
