"""The upload folder: ``ID.part`` grows, and once its last byte is on the disk it is called ``ID``.

Whoever writes to a part holds the kernel's lock on it (flock), which ends with the process. All of this blocks.
"""

import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from controller.adapters import files
from controller.ports.uploads import Algorithm, Busy

ID = re.compile(r"[0-9a-f]{32}", re.ASCII).fullmatch
_PART = ".part"
_MARK = ".folder"
_EARLY = 8 << 20  # bytes after which the kernel is told to begin with writing them, so that no fsync has much to wait for
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Found:
    """``whole``: it bears its final name."""

    size: int
    whole: bool
    changed: float


NOTHING = Found(0, False, 0.0)


@dataclass(frozen=True, slots=True)
class Space:
    """Of the file system, in bytes; what only root may take is not free."""

    total: int
    free: int


class Part:
    """One upload's file in the hands of one writer. ``end`` is behind the last byte, ``safe`` behind the last that is on
    the disk."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path
        self.end = self.safe = self._begun = os.fstat(descriptor).st_size
        self._hash: hashlib._Hash | None = None

    def check(self, algorithm: Algorithm) -> None:
        """What is written from now on has this digest in the end."""
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    @property
    def digest(self) -> bytes:
        assert self._hash is not None
        return self._hash.digest()

    def write(self, pieces: Sequence[bytes]) -> None:
        """At most 1024 of them (IOV_MAX). OSError: some of it may have been written, and counts."""
        left: Sequence[bytes | memoryview] = pieces
        while left:
            written = os.pwritev(self._descriptor, left, self.end)
            self.end += written
            left = _behind(left, written)
        if self._hash is not None:
            for piece in pieces:
                self._hash.update(piece)
        if self.end - self._begun >= _EARLY:
            os.posix_fadvise(self._descriptor, self._begun, self.end - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = self.end

    def settle(self) -> None:
        """All of it is on the disk. OSError: only what had been there before is, and it is all that is left of the file."""
        end = self.end
        try:
            os.fsync(self._descriptor)
        except OSError:
            self.cut(self.safe)  # the kernel forgets what it could not write: it would read as zeros, or not at all
            raise
        self.safe = end

    def cut(self, end: int) -> None:
        """Nothing is left behind this byte."""
        if self.end > end:
            os.ftruncate(self._descriptor, end)
        self.end, self.safe, self._begun = end, min(self.safe, end), end

    def finish(self) -> None:
        """It is whole, and nobody's to write any more: the controller may read it, who is of the folder's group."""
        os.fchmod(self._descriptor, 0o440)
        os.fsync(self._descriptor)
        files.rename_durably(self._path, self._path.with_suffix(""))

    def close(self) -> None:
        os.close(self._descriptor)


class Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def mark(self) -> str:
        """Which folder this is: another disk that is mounted here is another one. Made where it is missing. OSError."""
        self._root.mkdir(mode=0o770, parents=True, exist_ok=True)
        return files.settle(self._root / _MARK, secrets.token_hex(16).encode(), 0o640).decode()

    def make(self, upload_id: str) -> None:
        os.close(os.open(self._part(upload_id), _NEW, 0o600))
        files.fsync_folder(self._root)

    def claim(self, upload_id: str) -> Part | None:
        """For one writer; None when there is no such part. Busy, OSError."""
        path = self._part(upload_id)
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same(descriptor, path):
                    return Part(descriptor, path)
            except BlockingIOError:
                os.close(descriptor)
                raise Busy from None
            os.close(descriptor)  # it was renamed or removed before it was ours

    def look(self, upload_id: str, *, safe: bool = False) -> Found | None:
        """None when nothing of it is there. ``safe``: so much of it is on the disk."""
        for path in (self._part(upload_id), self._whole(upload_id)):  # in the order in which it is renamed
            with suppress(FileNotFoundError):
                return _looked(path, safe=safe and path.suffix == _PART)
        return None

    def drop(self, upload_id: str) -> None:
        for path in (self._part(upload_id), self._whole(upload_id)):
            files.remove(path)

    def ids(self) -> Iterator[str]:
        """Of all that lies there."""
        for entry in os.scandir(self._root):
            name = entry.name.removesuffix(_PART)
            if ID(name):
                yield name

    def space(self) -> Space:
        found = os.statvfs(self._root)
        return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def _part(self, upload_id: str) -> Path:
        return self._root / f"{upload_id}{_PART}"

    def _whole(self, upload_id: str) -> Path:
        return self._root / upload_id


def _behind(pieces: Sequence[bytes | memoryview], written: int) -> Sequence[bytes | memoryview]:
    """What of them was not written yet."""
    for number, piece in enumerate(pieces):
        if written < len(piece):
            return [memoryview(piece)[written:], *pieces[number + 1 :]]
        written -= len(piece)
    return ()


def _looked(path: Path, *, safe: bool) -> Found:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if safe:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is not a plain file")
    return Found(found.st_size, path.suffix != _PART, found.st_mtime)


def _same(descriptor: int, path: Path) -> bool:
    try:
        named = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    found = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (found.st_dev, found.st_ino)
