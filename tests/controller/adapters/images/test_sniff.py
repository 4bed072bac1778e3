"""What a file is, is told by its content alone; what is no disk is refused by its name."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from controller.adapters.images import sniff
from controller.adapters.images.problem import SourceProblem
from controller.adapters.images.sniff import Format
from tests.controller.adapters.images.disks import KINDS, MIB, QEMU, image, opened, raw_disk


def told(tmp_path: Path, content: bytes, size: int = 0) -> Format:
    path = tmp_path / "windows.vhdx"  # its name counts for nothing
    path.write_bytes(content)
    os.truncate(path, max(size, len(content)))
    with opened(path) as fd:
        return sniff.sniff(fd, path.stat().st_size)


def refusal(tmp_path: Path, content: bytes, size: int = 0) -> str:
    with pytest.raises(SourceProblem) as caught:
        told(tmp_path, content, size)
    return f"{caught.value.reason}: {caught.value}"


def at(offset: int, content: bytes) -> bytes:
    return bytes(offset) + content


@QEMU
@pytest.mark.parametrize("kind", KINDS)
def test_what_qemu_makes_is_known(tmp_path: Path, kind: str) -> None:
    path = image(raw_disk(tmp_path / "disk.raw", 8 * MIB, pieces=2), kind, tmp_path)
    with opened(path) as fd:
        assert sniff.sniff(fd, path.stat().st_size) == KINDS[kind].format


@pytest.mark.parametrize(
    "content",
    [
        at(510, b"\x55\xaa"),
        at(512, b"EFI PART"),
        at(4096, b"EFI PART"),
        at(1080, b"\x53\xef"),
        b"XFSB",
        at(65600, b"_BHRfS_M"),
        at(512, b"LABELONE"),
        at(4086, b"SWAPSPACE2"),
    ],
)
def test_a_disk_or_a_file_system_is_a_raw_disk_with_no_remark(tmp_path: Path, content: bytes) -> None:
    assert told(tmp_path, content, MIB) == "raw"
    with opened(tmp_path / "windows.vhdx") as fd:
        assert sniff.remark(fd) == ""


def test_a_disk_of_zeros_is_taken_and_remarked_on(tmp_path: Path) -> None:
    assert told(tmp_path, b"", MIB) == "raw"
    with opened(tmp_path / "windows.vhdx") as fd:
        assert sniff.remark(fd) == "it begins with zeros: it is taken as a data disk, no PC boots from it"


def test_a_disk_of_unknown_content_is_taken_and_remarked_on(tmp_path: Path) -> None:
    assert told(tmp_path, os.urandom(1 << 16).replace(b"MZ", b"MY"), MIB) == "raw"
    with opened(tmp_path / "windows.vhdx") as fd:
        assert "no partition table or file system that is known" in sniff.remark(fd)


def test_a_boot_sector_counts_more_than_what_the_code_in_it_looks_like(tmp_path: Path) -> None:
    assert told(tmp_path, b"MZ" + bytes(508) + b"\x55\xaa", MIB) == "raw"  # an EFI stub at the head of a hybrid disk


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"QED\0", "SourceForeign: it is a QED image"),
        (
            b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\0") + b"\x7f\x10\xda\xbe",
            "SourceForeign: it is a VDI image",
        ),
        (b"COWD", "SourceForeign: it is a VMDK image of ESX 2"),
        (
            b"# Disk DescriptorFile\nversion=1\n",
            "SourceForeign: it is the description of a VMDK",
        ),
        (b"WithoutFreeSpace", "SourceForeign: it is a Parallels image"),
        (b"LUKS\xba\xbe\0\1", "SourceForeign: it is an encrypted disk"),
        (b"\x1f\x8b\x08", "SourceNotADisk: it is a gzip archive"),
        (b"\xfd7zXZ\0", "SourceNotADisk: it is an xz archive"),
        (b"\x28\xb5\x2f\xfd", "SourceNotADisk: it is a zstd archive"),
        (at(0x8001, b"CD001"), "SourceNotADisk: it is a CD or DVD image"),
        (b"Disk image of the lab, made on Monday.\r\n" * 20, "SourceNotADisk: it is text"),
        ("xäöü\n".encode() * 2000, "SourceNotADisk: it is text"),
    ],
)
def test_what_is_no_disk_is_refused_by_its_name(tmp_path: Path, content: bytes, words: str) -> None:
    assert refusal(tmp_path, content, 1 << 16 if b"it is text" not in words.encode() else 0).startswith(words)


def test_a_real_tar_and_a_real_zip_are_refused(tmp_path: Path) -> None:
    tarred, zipped = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("disk.raw"))
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("disk.raw", b"x")
    assert refusal(tmp_path, tarred.getvalue()).startswith("SourceNotADisk: it is a tar archive")
    assert refusal(tmp_path, zipped.getvalue()).startswith("SourceNotADisk: it is a zip archive")


def test_an_empty_file_is_no_disk(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"") == "SourceEmpty: it is empty"


def test_what_is_two_images_at_once_is_none(tmp_path: Path) -> None:
    assert "qcow2 and vhd at once" in refusal(tmp_path, b"QFI\xfb".ljust(512, b"\0") + b"conectix".ljust(512, b"\0"))


@pytest.mark.parametrize("length", [1, 2, 3, 100, 511, 512, 513])
def test_a_file_however_short_is_told_apart_without_a_crash(tmp_path: Path, length: int) -> None:
    assert told(tmp_path, bytes(length)) == "raw"
    assert told(tmp_path, b"\xff" * length) == "raw"
