"""What is written to a file is on the server's disk before it is acknowledged, whoever writes: ioctl_iflags(2)."""

import ctypes
import errno
import fcntl
import os
import struct

_GETFLAGS, _SETFLAGS, _SYNC = 0x80086601, 0x40086602, 0x8  # linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_SYNC_FL
_NO_FLAGS = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL)
_TMPFS = 0x01021994  # linux/magic.h
_libc = ctypes.CDLL(None, use_errno=True)


def write_through(fd: int, *, durable: bool) -> None:
    """Makes it so, or no longer so; where ``written_through`` is None, nothing. OSError."""
    now = written_through(fd)
    if now is not None and now != durable:
        flags = _flags(fd)
        fcntl.ioctl(fd, _SETFLAGS, struct.pack("l", flags | _SYNC if durable else flags & ~_SYNC))


def written_through(fd: int) -> bool | None:
    """None where the file system has no such thing, or (Linux 6.6) flags but not this one: it is tmpfs, and keeps nothing
    over a power cut anyway. OSError."""
    if _filesystem(fd) == _TMPFS:
        return None
    try:
        return bool(_flags(fd) & _SYNC)
    except OSError as error:
        if error.errno not in _NO_FLAGS:
            raise
        return None


def _flags(fd: int) -> int:
    found: int = struct.unpack("l", fcntl.ioctl(fd, _GETFLAGS, bytes(struct.calcsize("l"))))[0]
    return found & 0xFFFFFFFF


def _filesystem(fd: int) -> int:
    """``f_type``, the first word of what fstatfs(2) tells; Python's own statvfs leaves it out."""
    told = ctypes.create_string_buffer(256)
    if _libc.fstatfs(fd, told) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    found: int = struct.unpack_from("l", told)[0]
    return found
