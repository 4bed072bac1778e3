"""The folder of downloads: ``DIGEST.part`` grows, and once its last byte is on the disk it is called ``DIGEST``.

``DIGEST.json`` beside a part says up to where it is on the disk, and by what the server knows again whether the rest
belongs to it (a strong ETag). Without that, and after a change of the URL, a download begins anew. All of this blocks.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from controller.adapters import files
from controller.adapters.pool_room import entries

FOLDER = "downloads"
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch
_PART, _TOLD, VAIN = ".part", ".json", ".vain"
_SETTLED = 64 << 20  # bytes after which the disk is waited for: what a power cut costs at most
_ALWAYS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Part:
    """One download's file in the hands of one writer. ``end`` is behind the last byte, ``total`` is the length of the
    whole where the server told it, ``etag`` a strong one, or None: then it cannot be gone on with."""

    def __init__(self, folder: Path, digest: str, url: str) -> None:
        """OSError. What cannot be relied on is cut off."""
        folder.mkdir(mode=0o750, exist_ok=True)
        self._final = folder / digest
        self._path, self._notes = folder / f"{digest}{_PART}", folder / f"{digest}{_TOLD}"
        self._url = hashlib.sha256(url.encode()).hexdigest()  # what is in a URL may be a secret
        safe, self.total, self.etag = self._told()
        self.finished = False
        self._fd = os.open(self._path, _ALWAYS, 0o600)
        self.end = self._safe = min(safe, os.fstat(self._fd).st_size)
        os.ftruncate(self._fd, self.end)

    @property
    def whole(self) -> bool:
        return self.total is not None and self.end == self.total

    def begin(self, total: int | None, etag: str | None) -> None:
        """Anew, with nothing of what was there. OSError."""
        os.ftruncate(self._fd, 0)
        self.end = self._safe = 0
        self.total, self.etag = total, etag
        self._note()

    def write(self, pieces: Sequence[bytes]) -> None:
        """OSError: some of it may have been written, and counts."""
        for piece in pieces:
            view = memoryview(piece)
            while view:
                written = os.pwrite(self._fd, view, self.end)
                self.end += written
                view = view[written:]
        if self.end - self._safe >= _SETTLED:
            self.settle()

    def settle(self) -> None:
        """All of it is on the disk, and known to be. OSError: only what was known to be before is."""
        end = self.end
        try:
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._safe)  # the kernel forgets what it could not write
            self.end = self._safe
            raise
        self._safe = end
        self._note()

    def finish(self) -> None:
        """It is whole. OSError."""
        os.fchmod(self._fd, 0o440)
        os.fsync(self._fd)
        files.rename_durably(self._path, self._final)
        self.finished = True
        files.remove(self._notes)

    def close(self) -> None:
        os.close(self._fd)

    def _note(self) -> None:
        told = {"url": self._url, "etag": self.etag, "total": self.total, "safe": self._safe}
        files.replace(self._notes, json.dumps(told).encode(), 0o600)

    def _told(self) -> tuple[int, int | None, str | None]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(files.read(self._notes, 1 << 16))
            if told["url"] == self._url and told["etag"]:
                total = told["total"]
                return int(told["safe"]), None if total is None else int(total), str(told["etag"])
        return 0, None, None


def there(folder: Path) -> frozenset[str]:
    """The digests of all that lies there, whole or not, and of what came in vain. OSError."""
    names = (name.removesuffix(_PART).removesuffix(_TOLD).removesuffix(VAIN) for name in entries(folder))
    return frozenset(filter(_DIGEST, names))


def is_whole(folder: Path, digest: str) -> bool:
    return (folder / digest).is_file()


def drop(folder: Path, digest: str) -> None:
    """OSError."""
    if not _DIGEST(digest):
        raise ValueError(f"{digest!a} is no digest")
    for suffix in (_TOLD, _PART, VAIN, ""):
        files.remove(folder / f"{digest}{suffix}")
