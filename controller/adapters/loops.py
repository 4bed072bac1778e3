"""Files as block devices, by the kernel's own calls (linux/loop.h): ``losetup`` costs a process for each.

Every device is made with AUTOCLEAR: the kernel lets go of the file as soon as nobody has the device open any more, so
that neither a crash nor a removed snapshot leaves one behind. Each call may block for as long as the kernel does.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTROL = "/dev/loop-control"
_CONFIGURE, _SET_CAPACITY, _GET_FREE = 0x4C0A, 0x4C07, 0x4C82
_READ_ONLY, _AUTOCLEAR = 1, 4
# struct loop_config: fd, block size, then struct loop_info64, of which only the flags and the name are given, and a reserve.
_CONFIG = struct.Struct("=II 52xI 64s 112x 64x")
_SECTOR = 512
_TRIES = 64


@contextmanager
def attached(file: int, name: str, *, readonly: bool) -> Iterator[str]:
    """A new device on an open file, as ``major:minor``; it stays as long as somebody has it open, as this does. OSError.

    ``name`` is shown in the device's own description, and is of no other use.
    """
    flags = _AUTOCLEAR | (_READ_ONLY if readonly else 0)
    config = _CONFIG.pack(file, _SECTOR, flags, name.encode()[:63])
    device = _free(config, os.O_RDONLY if readonly else os.O_RDWR)
    try:
        yield number(device)
    finally:
        os.close(device)


def _free(config: bytes, mode: int) -> int:
    control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            device = os.open(f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}", mode | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _CONFIGURE, config)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:  # somebody else was quicker
                    raise
            else:
                return device
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device is free", CONTROL)


@contextmanager
def opened(device: str) -> Iterator[int]:
    """A device of this ``major:minor``, kept open for reading. OSError."""
    fd = os.open(f"/dev/{Path(f'/sys/dev/block/{device}').readlink().name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def backing(device: str) -> str | None:
    """The file behind ``major:minor``, with " (deleted)" behind its path if it is; None when it is no loop device."""
    try:
        return Path(f"/sys/dev/block/{device}/loop/backing_file").read_text().removesuffix("\n")
    except FileNotFoundError:
        return None


def readonly(path: str) -> Iterator[str]:
    """The devices on this file that nobody can write to, as ``major:minor``."""
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            device = (entry.parents[1] / "dev").read_text().strip()
        except FileNotFoundError:  # no longer in use
            continue
        if backing(device) == path and is_readonly(device):
            yield device


def is_readonly(device: str) -> bool:
    try:
        return Path(f"/sys/dev/block/{device}/ro").read_text() == "1\n"
    except FileNotFoundError:
        return False


def grown(device: str) -> None:
    """The device becomes as large as its file is by now."""
    with opened(device) as fd:
        fcntl.ioctl(fd, _SET_CAPACITY)


def number(fd: int) -> str:
    found = os.fstat(fd).st_rdev
    return f"{os.major(found)}:{os.minor(found)}"
