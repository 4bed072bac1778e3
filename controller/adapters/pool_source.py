"""An image's source in the import folder: opened without following any link, and looked at before it is believed."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.core.world import Stamp
from manifests.types import shown

SECTOR = 512
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAGIC = (
    (b"QFI\xfb", "qcow2"),
    (b"QED\0", "QED"),
    (b"conectix", "VHD"),
    (b"vhdxfile", "VHDX"),
    (b"KDMV", "VMDK"),
    (b"COWD", "VMDK"),
    (b"# Disk DescriptorFile", "VMDK"),
    (b"<<< ", "VDI"),
)
_FOOTER = (b"conectix", "VHD")  # a fixed VHD is the raw disk and this in its last sector


class SourceProblem(Exception):
    """It cannot be imported as it is. ``reason`` is one CamelCase word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@contextmanager
def opened(imports: Path, source: str) -> Iterator[int]:
    """A descriptor of the plain file ``source`` below ``imports``. SourceProblem, also for a link on the way there."""
    parts = source.split("/")
    if "\0" in source or any(part in ("", ".", "..") for part in parts):
        raise SourceProblem("SourceInvalid", f"{shown(source)} is not a plain relative path below {imports}")
    fd = _open(imports, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, None, str(imports))
    try:
        for part in parts[:-1]:
            deeper = _open(part, _FOLDER, fd, source)
            os.close(fd)
            fd = deeper
        last = _open(parts[-1], _FILE, fd, source)
        os.close(fd)
        fd = last
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            kind = "a folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "not a plain file"
            raise SourceProblem("SourceNotAFile", f"{source} is {kind}")
        yield fd
    finally:
        os.close(fd)


def _open(name: str | Path, flags: int, folder: int | None, source: str) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        raise SourceProblem("SourceMissing", f"{source} is not there") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise SourceProblem(
                "SourceLink", f"{source} leads over a symbolic link or a file: only plain folders do"
            ) from error
        raise SourceProblem("SourceUnreadable", f"{source} cannot be read: {error.strerror}") from error


def stamp(fd: int) -> Stamp:
    found = os.fstat(fd)
    return Stamp(found.st_size, found.st_mtime_ns)


def inspect(fd: int, source: str, wanted: str = "auto") -> None:
    """SourceProblem unless it is a raw disk. ``wanted`` is the Image's format."""
    size = os.fstat(fd).st_size
    if size == 0:
        raise SourceProblem("SourceEmpty", f"{source} is empty")
    try:
        head, tail = os.pread(fd, SECTOR, 0), os.pread(fd, SECTOR, max(0, size - SECTOR))
    except OSError as error:
        raise SourceProblem("SourceUnreadable", f"{source} cannot be read: {error.strerror}") from error
    formats = [name for magic, name in _MAGIC if head.startswith(magic)]
    formats += [_FOOTER[1]] if tail.startswith(_FOOTER[0]) else []
    if formats or wanted not in ("auto", "raw"):
        raise SourceProblem(
            "SourceNotRaw",
            f"{source} is a {(formats or [wanted])[0]} image, not a raw disk: convert it first:"
            f" qemu-img convert -O raw {source} {source}.raw",
        )
    if size % SECTOR:
        raise SourceProblem("SourceUneven", f"{source} has {size} bytes, which is not a multiple of {SECTOR}")
