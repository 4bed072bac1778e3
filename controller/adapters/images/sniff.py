"""What a file is, by its content: its name and what a manifest says of it prove nothing."""

import os
from typing import Literal, get_args

from controller.adapters.images.problem import SourceProblem

Format = Literal["raw", "qcow2", "vhd", "vhdx", "vmdk"]
FORMATS: tuple[Format, ...] = get_args(Format)
SECTOR = 512

_IMAGES: tuple[tuple[bytes, Format], ...] = (
    (b"QFI\xfb", "qcow2"),
    (b"conectix", "vhd"),
    (b"vhdxfile", "vhdx"),
    (b"KDMV", "vmdk"),
)
_MEND = "convert it first: qemu-img convert -O qcow2"
_FOREIGN = (  # offset, magic, what it is, what to do
    (0, b"QED\0", "a QED image", _MEND),
    (64, b"\x7f\x10\xda\xbe", "a VDI image", _MEND),  # VirtualBox: VDIHDR, u32Signature
    (0, b"WithoutFreeSpace", "a Parallels image", _MEND),
    (0, b"WithouFreSpacExt", "a Parallels image", _MEND),
    (0, b"<<< ", "a VDI image", _MEND),
    (0, b"COWD", "a VMDK image of ESX 2", _MEND),
    (0, b"# Disk DescriptorFile", "the description of a VMDK whose data is in other files", f"join them, {_MEND}"),
    (0, b"LUKS\xba\xbe", "an encrypted disk (LUKS)", "bring its decrypted content"),
)
_DISK = (  # what only a disk or a file system has, at its place
    (510, b"\x55\xaa"),  # MBR, or a boot sector
    (512, b"EFI PART"),
    (4096, b"EFI PART"),
    (1080, b"\x53\xef"),  # ext2, ext3, ext4
    (0, b"XFSB"),
    (65600, b"_BHRfS_M"),  # btrfs
    (512, b"LABELONE"),  # LVM
    (4096, b"\xfc\x4e\x2b\xa9"),  # md
    (4086, b"SWAPSPACE2"),
)
_OTHER = (
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"Rar!", "a rar archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"MSWIM\0\0\0", "a Windows installation archive (WIM)"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0x8001, b"CD001", "a CD or DVD image"),
)
_HEAD = 0x8001 + 5
_BTRFS_END = 65600 + 8
_CONTROL = bytes({*range(0x20), 0x7F} - {*b"\t\n\r\f"})


def shown(form: Format) -> str:
    """As it is written in a sentence."""
    return form if form in ("raw", "qcow2") else form.upper()


def sniff(fd: int, size: int) -> Format:
    """The format of the ``size`` bytes of ``fd``. SourceProblem where it is none that can be imported."""
    if size == 0:
        raise SourceProblem("SourceEmpty", "it is empty")
    head = read(fd, _BTRFS_END, 0)
    tail = read(fd, SECTOR, max(0, size - SECTOR))
    found = {name for magic, name in _IMAGES if head.startswith(magic)}
    if tail.startswith(b"conectix"):
        found.add("vhd")
    if len(found) > 1:
        raise SourceProblem(
            "SourceNotADisk", f"it is {' and '.join(sorted(found))} at once: no such image is made by a program"
        )
    if found:
        return found.pop()
    _refuse_foreign(head, tail)
    if not looks_like_a_disk(head):
        _refuse_other(head)
    return "raw"


def remark(fd: int) -> str:
    """What is worth telling of a raw disk that is taken as it is, or nothing."""
    head = read(fd, _BTRFS_END, 0)
    if looks_like_a_disk(head):
        return ""
    seen = "begins with zeros" if not any(head) else "has no partition table or file system that is known"
    return f"it {seen}: it is taken as a data disk, no PC boots from it"


def looks_like_a_disk(head: bytes) -> bool:
    return any(head[at : at + len(magic)] == magic for at, magic in _DISK)


def _refuse_foreign(head: bytes, tail: bytes) -> None:
    for at, magic, what, remedy in _FOREIGN:
        if head[at : at + len(magic)] == magic:
            raise SourceProblem("SourceForeign", f"it is {what}: {remedy}")
    if tail.startswith(b"koly"):
        raise SourceProblem("SourceForeign", f"it is a macOS disk image (DMG): {_MEND}")


def _refuse_other(head: bytes) -> None:
    for at, magic, what in _OTHER:
        if head[at : at + len(magic)] == magic:
            raise SourceProblem("SourceNotADisk", f"it is {what}, not a disk: unpack it, or bring the disk itself")
    if _is_text(head[:4096]):
        raise SourceProblem("SourceNotADisk", "it is text, not a disk: bring the disk itself")


def _is_text(head: bytes) -> bool:
    """UTF-8 without a control character; the last one may be cut off."""
    try:
        return bool(head.decode(errors="strict")) and len(head.translate(None, _CONTROL)) == len(head)
    except UnicodeDecodeError as error:
        return error.start > 0 and error.reason == "unexpected end of data" and _is_text(head[: error.start])


def read(fd: int, length: int, at: int) -> bytes:
    try:
        return os.pread(fd, length, at)
    except OSError as error:
        raise SourceProblem("SourceUnreadable", f"it cannot be read: {error.strerror}") from error
