"""Disks to put into images, the images that qemu-img makes of them, and their content by ways that are not ours."""

import hashlib
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

QEMU = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed (package qemu-utils)")
MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Kind:
    """How qemu-img makes an image, and what we call the format."""

    name: str
    format: str
    options: Sequence[str]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("qcow2-v2", "qcow2", ["-O", "qcow2", "-o", "compat=0.10"]),
        Kind("qcow2-v3", "qcow2", ["-O", "qcow2"]),
        Kind("qcow2-l2", "qcow2", ["-O", "qcow2", "-o", "extended_l2=on,cluster_size=128k"]),
        Kind("qcow2-zlib", "qcow2", ["-O", "qcow2", "-c"]),
        Kind("qcow2-zstd", "qcow2", ["-O", "qcow2", "-c", "-o", "compression_type=zstd"]),
        Kind("vhd-dynamic", "vhd", ["-O", "vpc", "-o", "force_size=on"]),
        Kind("vhd-fixed", "vhd", ["-O", "vpc", "-o", "subformat=fixed,force_size=on"]),
        Kind("vhdx-dynamic", "vhdx", ["-O", "vhdx", "-o", "subformat=dynamic"]),
        Kind("vhdx-fixed", "vhdx", ["-O", "vhdx", "-o", "subformat=fixed"]),
        Kind("vmdk-sparse", "vmdk", ["-O", "vmdk", "-o", "subformat=monolithicSparse"]),
        Kind("vmdk-stream", "vmdk", ["-O", "vmdk", "-o", "subformat=streamOptimized"]),
    )
}


def raw_disk(path: Path, size: int, *, pieces: int = 24) -> Path:
    """A disk with a boot sector, a last sector, and some pieces of 256 KiB between; the same one each time."""
    chance = random.Random(size)
    with path.open("wb") as file:
        file.truncate(size)
        file.write(b"\xfa\x33" + bytes(508) + b"\x55\xaa")
        for _ in range(pieces):
            file.seek(chance.randrange(1, size // MIB - 1) * MIB + 4096 * chance.randrange(64))
            file.write(chance.randbytes(96 << 10) + b"GGnet" * (32 << 10))
        file.seek(size - 512)
        file.write(b"the last sector ".ljust(512, b"."))
    return path


def image(disk: Path, kind: str, folder: Path) -> Path:
    path = folder / f"{disk.stem}.{kind}"
    subprocess.run(["qemu-img", "convert", "-f", "raw", *KINDS[kind].options, disk, path], check=True, capture_output=True)
    return path


def digest(path: Path) -> str:
    """sha256 of the whole content, holes and all."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_digest(path: Path) -> str:
    """The same for a disk that takes too long to read: of each MiB that is not zeros, with its place; and of the size."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA) // MIB * MIB
            except OSError:
                break
            data = os.pread(file.fileno(), MIB, at)
            if any(data):
                sha.update(struct.pack(">Q", at) + data)
            at += MIB
    return f"{sha.hexdigest()} of {size}"


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def children() -> set[str]:
    """The processes that this one has begun and not waited for, ended ones too."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if stat.read_text().rpartition(") ")[2].split()[1] == str(os.getpid()):
                found.add(stat.parent.name)
    return found
