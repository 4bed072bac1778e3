"""The one door to replaced, renamed and removed files.

A file is replaced whole or not at all: a reader, and a power cut, meet the old bytes or the new ones. That takes a
temporary file in the same folder, an fsync of it, a rename, and an fsync of the folder (rename(2), fsync(2)). Symbolic
links are never followed at the last component: one that stands in the way is replaced or removed itself.
"""

import os
import secrets
import stat
from pathlib import Path


def replace(path: Path, data: bytes, mode: int = 0o644) -> None:
    """``path`` holds exactly ``data`` with ``mode``, durably. OSError leaves what was there before, and no rubbish."""
    temp = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.tmp")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            _write_all(fd, data)
            os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """``path`` holds ``data`` durably, but not from one moment to the next: for a file that nobody reads yet. OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        _write_all(fd, data)
        os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)


def settle(path: Path, data: bytes, mode: int = 0o644) -> bytes:
    """What the file holds, durably: ``data`` if there was none. Of several at once all hear of the same. OSError."""
    if not path.exists():
        temp = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.tmp")
        write(temp, data, mode)
        try:
            path.hardlink_to(temp)
        except FileExistsError:
            pass
        finally:
            temp.unlink()
        fsync_folder(path.parent)
    return read(path, len(data))


def rename_durably(temp: Path, final: Path) -> None:
    """``temp``, whose bytes its writer has fsynced, becomes ``final``, replacing it, in one durable move. OSError."""
    temp.replace(final)
    fsync_folder(final.parent)
    if temp.parent != final.parent:
        fsync_folder(temp.parent)


def remove(path: Path) -> None:
    """No file of that name is left, durably; one that is absent already is fine. OSError, also for a folder."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    fsync_folder(path.parent)


def read(path: Path, limit: int) -> bytes:
    """The bytes of a plain file. OSError for anything else: a link, a folder, a device, or more than ``limit`` bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return read_open(fd, path, limit)


def read_open(fd: int, path: Path, limit: int) -> bytes:
    """Like ``read`` for a descriptor that is already open, and is closed here; ``path`` is for the message only."""
    with os.fdopen(fd, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{path} is not a plain file")
        data = bytearray()
        while chunk := file.read(min(1 << 20, limit + 1 - len(data))):
            data += chunk
        if len(data) > limit:
            raise OSError(f"{path} is larger than {limit} bytes")
        return bytes(data)


def fsync_folder(folder: Path) -> None:
    """Makes the names in ``folder`` durable. OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
