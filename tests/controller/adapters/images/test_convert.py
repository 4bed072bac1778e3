"""Images that qemu-img made arrive as raw disks with the same content and the same holes."""

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.adapters import confine
from controller.adapters.images import examine, sniff
from controller.adapters.images.examine import Examined
from controller.adapters.images.problem import SourceProblem
from tests.contracts.pool_bench import mounted, why_no_mount
from tests.controller.adapters.images.disks import (
    GIB,
    KINDS,
    MIB,
    QEMU,
    allocated,
    children,
    data_digest,
    digest,
    image,
    opened,
    raw_disk,
)

pytestmark = QEMU
MOUNTS = pytest.mark.skipif(why_no_mount() is not None, reason=str(why_no_mount()))
LARGE = ("qcow2-v3", "vhd-dynamic", "vhdx-dynamic", "vmdk-sparse")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def gibibyte(folder: Path) -> Iterator[Path]:
    path = raw_disk(folder / "disk.raw", GIB)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def large(folder: Path) -> Iterator[Path]:
    path = raw_disk(folder / "large.raw", 64 * GIB)
    yield path
    path.unlink()


def converted(source: Path, made: Path, tell: Callable[[float], None] = lambda part: None) -> Examined:
    with opened(source) as fd, opened(made, os.O_RDWR | os.O_CREAT | os.O_EXCL) as out:
        found = examine.examine(fd, sniff.sniff(fd, source.stat().st_size))
        examine.convert(fd, found, out, progress=tell, check=confine.idle)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_gibibyte_arrives_with_its_content_and_its_holes(gibibyte: Path, tmp_path: Path, kind: str) -> None:
    parts: list[float] = []
    found = converted(image(gibibyte, kind, tmp_path), tmp_path / "made", parts.append)
    assert (found.format, found.virtual_size) == (KINDS[kind].format, GIB)
    assert data_digest(tmp_path / "made") == data_digest(gibibyte)
    assert allocated(tmp_path / "made") <= allocated(gibibyte) + MIB
    assert parts[-1] == 1.0
    assert parts == sorted(parts)


@pytest.mark.parametrize("kind", LARGE)
def test_sixty_four_gibibytes_with_holes_take_no_longer_than_their_data(large: Path, tmp_path: Path, kind: str) -> None:
    began = time.monotonic()
    found = converted(image(large, kind, tmp_path), tmp_path / "made")
    assert time.monotonic() - began < 30
    assert found.virtual_size == 64 * GIB
    assert data_digest(tmp_path / "made") == data_digest(large)
    assert allocated(tmp_path / "made") <= allocated(large) + MIB


def test_a_vhd_sized_by_its_geometry_keeps_what_that_adds(tmp_path: Path) -> None:
    disk = raw_disk(tmp_path / "disk.raw", 64 * MIB)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", disk, tmp_path / "disk.vhd"], check=True)
    found = converted(tmp_path / "disk.vhd", tmp_path / "made")
    assert found.virtual_size > 64 * MIB
    made = (tmp_path / "made").read_bytes()
    assert made[: 64 * MIB] == disk.read_bytes()
    assert not any(made[64 * MIB :])


def test_every_byte_is_the_same(tmp_path: Path) -> None:
    disk = raw_disk(tmp_path / "disk.raw", 128 * MIB)
    converted(image(disk, "qcow2-v3", tmp_path), tmp_path / "made")
    assert digest(tmp_path / "made") == digest(disk)


def test_a_job_that_is_given_up_ends_the_conversion(gibibyte: Path, tmp_path: Path) -> None:
    class GivenUp(BaseException):
        pass

    def check(_: str) -> None:
        if os.fstat(out).st_blocks:
            raise GivenUp

    source, before = image(gibibyte, "qcow2-zlib", tmp_path), children()
    with opened(source) as fd, opened(tmp_path / "made", os.O_RDWR | os.O_CREAT) as out:
        found = examine.examine(fd, "qcow2")
        with pytest.raises(GivenUp):
            examine.convert(fd, found, out, progress=lambda part: None, check=check)
        there = os.fstat(out).st_blocks
        time.sleep(0.2)
        assert os.fstat(out).st_blocks == there, "nobody writes any more"
    assert children() == before


@MOUNTS
def test_a_full_disk_is_told_as_that(tmp_path: Path) -> None:
    source = image(raw_disk(tmp_path / "disk.raw", 64 * MIB), "qcow2-v3", tmp_path)
    with (
        mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as small,
        opened(source) as fd,
        opened(small / "made", os.O_RDWR | os.O_CREAT) as out,
    ):
        with pytest.raises(OSError, match="No space left") as caught:
            examine.convert(fd, examine.examine(fd, "qcow2"), out, progress=lambda part: None, check=confine.idle)
        assert caught.value.errno == errno.ENOSPC


def test_a_source_that_nobody_else_may_read_is_converted_all_the_same(tmp_path: Path) -> None:
    source = image(raw_disk(tmp_path / "disk.raw", 8 * MIB, pieces=2), "qcow2-v3", tmp_path)
    source.chmod(0o400)
    found = converted(source, tmp_path / "made")
    assert digest(tmp_path / "made") == digest(tmp_path / "disk.raw")
    assert "opened-files" in found.layers


def test_data_that_cannot_be_unpacked_is_a_damaged_image_not_a_full_disk(tmp_path: Path) -> None:
    source = image(raw_disk(tmp_path / "disk.raw", 8 * MIB, pieces=4), "qcow2-zlib", tmp_path)
    with source.open("r+b") as file:
        file.seek(5 << 16)
        file.write(b"\xff" * (64 << 10))  # the tables are before and the data from here
    with pytest.raises(SourceProblem) as caught:
        converted(source, tmp_path / "made")
    assert caught.value.reason in ("ConversionFailed", "SourceCorrupt")
    assert "/dev/fd" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("words", ["driver=", "json:", "/dev/", "/proc"])
def test_no_name_of_ours_is_in_what_is_told(tmp_path: Path, words: str) -> None:
    source = image(raw_disk(tmp_path / "disk.raw", 8 * MIB, pieces=4), "vhdx-dynamic", tmp_path)
    os.truncate(source, source.stat().st_size - (6 << 20))
    with pytest.raises(SourceProblem) as caught:
        converted(source, tmp_path / "made")
    assert words not in str(caught.value)
