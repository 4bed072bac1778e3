"""A bootable disk image in a few milliseconds: boot code for BIOS and a boot program for UEFI, side by side.

One MBR with one FAT16 partition of the EFI type. What the boot programs print is described in ``boot/mbr.S``.
"""

import struct
import subprocess
import tempfile
from pathlib import Path

SIZE = 16 << 20
SECTOR = 512
PARTITION = 64  # first sector of the partition
NOTE = 66  # a reserved sector of the file system, which no file ever uses
_SECTORS = SIZE // SECTOR - PARTITION
_RESERVED, _FAT, _ROOT, _CLUSTER = 4, 32, 32, 4  # sectors: before the FAT, of it, of the root folder, in a cluster
SOURCES = Path(__file__).parent / "boot"


def build(path: Path, marker: str = "BOOT-OK") -> None:
    """Write an image of ``SIZE`` bytes to ``path``, sparse. Needs gcc and binutils."""
    with tempfile.TemporaryDirectory() as scratch:
        code, program = _mbr(Path(scratch), marker), _efi(Path(scratch), marker)
    with path.open("wb") as image:
        image.truncate(SIZE)
        entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0xEF, b"\xfe\xff\xff", PARTITION, _SECTORS)
        image.write(code + struct.pack("<IH", 0x47474E45, 0) + entry + bytes(48) + b"\x55\xaa")
        for sector, data in filesystem(program, PARTITION):
            image.seek((PARTITION + sector) * SECTOR)
            image.write(data)


def _gcc(*arguments: str | Path) -> None:
    subprocess.run(["gcc", "-Os", "-nostdlib", "-ffreestanding", *arguments], check=True)


def _mbr(scratch: Path, marker: str) -> bytes:
    made, code = scratch / "mbr.o", scratch / "mbr.bin"
    _gcc("-m32", "-c", f'-DMARKER="{marker}"', f"-DNOTE={NOTE}", "-o", made, SOURCES / "mbr.S")
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", made, code], check=True)
    return code.read_bytes()


def _efi(scratch: Path, marker: str) -> bytes:
    made, program = scratch / "efi.so", scratch / "efi.efi"
    _gcc(
        *("-fpic", "-shared", "-Wl,-Bsymbolic,-e,efi_main,-z,norelro,--build-id=none", "-Wall", "-Werror"),
        *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fcf-protection=none", "-mno-red-zone"),
        *(f'-DMARKER="{marker}"', f"-DNOTE={NOTE}", f"-DPARTITION={PARTITION}", "-o", made, SOURCES / "efi.c"),
    )
    sections = [word for name in (".text", ".rodata", ".data", ".bss", ".reloc") for word in ("-j", name)]
    subprocess.run(["objcopy", *sections, "--target", "efi-app-x86_64", made, program], check=True)
    return program.read_bytes()


def filesystem(program: bytes, start: int) -> list[tuple[int, bytes]]:
    """FAT16 in a partition that begins at sector ``start`` and holds ``/EFI/BOOT/BOOTX64.EFI``, as (sector, bytes)."""
    size = _CLUSTER * SECTOR
    chain = range(4, 4 + -(-len(program) // size))
    fat = [0xFFF8, 0xFFFF, 0xFFFF, 0xFFFF, *(n + 1 for n in chain[:-1]), 0xFFFF]
    boot = struct.pack(
        "<3s8sHBHBHHBHHHIIBBBI11s8s",
        *(b"\xeb\x3c\x90", b"GGNETLAB", SECTOR, _CLUSTER, _RESERVED, 1, _ROOT * SECTOR // 32, _SECTORS, 0xF8, _FAT),
        *(32, 64, start, 0, 0x80, 0, 0x29, 0x47474E45, b"GGNET LAB  ", b"FAT16   "),
    )
    data = _RESERVED + _FAT + _ROOT  # the sector of cluster 2
    return [
        (0, boot.ljust(510, b"\0") + b"\x55\xaa"),
        (_RESERVED, struct.pack(f"<{len(fat)}H", *fat)),
        (_RESERVED + _FAT, _entry("EFI", 2)),
        (data, _entry(".", 2) + _entry("..", 0) + _entry("BOOT", 3)),
        (data + _CLUSTER, _entry(".", 3) + _entry("..", 2) + _entry("BOOTX64 EFI", 4, len(program))),
        (data + 2 * _CLUSTER, program),
    ]


def _entry(name: str, cluster: int, size: int | None = None) -> bytes:
    """A folder's entry; a folder has no size."""
    return struct.pack("<11sB14xHI", name.ljust(11).encode(), 0x10 if size is None else 0x20, cluster, size or 0)
