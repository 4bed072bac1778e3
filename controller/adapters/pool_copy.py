"""One file from another on the same file system: a clone where it can share blocks, else a copy that keeps holes."""

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator

REFLINK, COPY = "reflink", "copy"
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)
_NO_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS)
_METHOD = "user.ggnet.method"

Check = Callable[[str], None]


def clone(source: int, made: int) -> bool:
    """Whether the file system could share the blocks (ioctl_ficlone(2)): told by trying, not by its name."""
    try:
        fcntl.ioctl(made, _FICLONE, source)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True


def copy(source: int, made: int, check: Check, told: Callable[[float], None] = lambda part: None) -> None:
    """Bytes where there are some; holes, and runs of zeros, stay holes. ``check`` is asked before each piece, ``told`` is
    the part that is done."""
    size = os.lseek(source, 0, os.SEEK_END)  # a block device tells none in its status
    os.ftruncate(made, size)
    for at, end in _extents(source, size):
        offset = at
        while offset < end:
            check("copying")
            chunk = os.pread(source, min(_CHUNK, end - offset), offset)
            if not chunk:
                return  # it became shorter: its stamp will tell
            if chunk != _ZEROS[: len(chunk)]:
                _write(made, chunk, offset)
            offset += len(chunk)
            told(offset / size)


def digest(fd: int, check: Check) -> str:
    """sha256 of the whole content, holes read as the zeros that they are."""
    sha, size, at = hashlib.sha256(), os.fstat(fd).st_size, 0
    for start, end in (*_extents(fd, size), (size, size)):
        while at < start:
            check("hashing")
            length = min(_CHUNK, start - at)
            sha.update(_ZEROS[:length])
            at += length
        while at < end:
            check("hashing")
            chunk = os.pread(fd, min(_CHUNK, end - at), at)
            if not chunk:
                raise OSError(errno.EIO, "the file ended early")
            sha.update(chunk)
            at += len(chunk)
    return sha.hexdigest()


def _extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Where there is data: (start, end). A file system without holes tells one extent (lseek(2), SEEK_DATA)."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno == errno.EINVAL and stat.S_ISBLK(os.fstat(fd).st_mode):
                yield 0, size
                return
            raise
        if start >= size:
            return
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def allocated(fd: int) -> int:
    return os.fstat(fd).st_blocks * 512


def record_method(fd: int, method: str) -> None:
    """Kept with the file itself, so that no crash can part them. Where that cannot be, a copy is assumed."""
    try:
        os.setxattr(fd, _METHOD, method.encode())
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
            raise


def method(path: str) -> str:
    try:
        return REFLINK if os.getxattr(path, _METHOD, follow_symlinks=False) == REFLINK.encode() else COPY
    except OSError:
        return COPY
