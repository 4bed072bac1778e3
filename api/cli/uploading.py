"""A file on its way to the server: in pieces with their digests, and on from where it stood when the line comes back.

The server tells how far it is; nothing is remembered here. The next piece is read and hashed while one is sent.
"""

import base64
import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

from api.cli import client
from api.cli.failure import ERROR, Failure

if TYPE_CHECKING:
    import httpx

# What a line that breaks costs, because a digest is good for all of a piece or for nothing: as much as goes up in a second.
_LEAST, _FIRST, _LARGEST = 1 << 20, 8 << 20, 64 << 20
_SECOND = 1.0
_SLICE = 1 << 20  # how often the bar moves
_TUS = {"Tus-Resumable": "1.0.0"}
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 15.0
_SPOILT = 3  # times that one piece may arrive wrong
_LATER = frozenset({409, 423, 429, 460, 500, 502, 503, 504})


class Shown(Protocol):
    """Whoever tells people how far it is."""

    def at(self, offset: int) -> None: ...

    def waits(self, why: str, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was when the upload began."""

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Failure."""
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
        except OSError as error:
            raise Failure(f"{path} cannot be read: {error.strerror}", remedy="name a file that holds a disk image") from None
        if not path.is_file() or not found.st_size:
            raise Failure(f"{path} holds nothing: it is no disk image", remedy="name a file that holds one")
        return cls(path, found.st_size, found.st_mtime_ns)

    @property
    def fingerprint(self) -> str:
        """By which a later run knows the upload of this very file."""
        return hashlib.sha256(f"{self.path.name}\0{self.size}\0{self.changed}".encode()).hexdigest()

    def metadata(self) -> str:
        pairs = {"filename": self.path.name, "fingerprint": self.fingerprint}
        return ",".join(f"{key} {base64.b64encode(os.fsencode(value)).decode()}" for key, value in pairs.items())


class Ahead:
    """The pieces of a file, the next one read and hashed while nobody waits for it. ``length``: of those to come."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size, self._pool, self._length = file, size, ThreadPoolExecutor(1), _FIRST
        self._next: tuple[int, Future[tuple[bytes, str]]] | None = None

    def at(self, offset: int) -> tuple[bytes, str]:
        """A piece and its Upload-Checksum."""
        waiting = self._next
        piece, checksum = waiting[1].result() if waiting is not None and waiting[0] == offset else self._read(offset)
        after = offset + len(piece)
        self._next = (after, self._pool.submit(self._read, after)) if piece and after < self._size else None
        return piece, checksum

    def went(self, seconds: float | None) -> None:
        """How long the last piece took; None: it did not arrive, and what was read ahead is too much as well."""
        if seconds is None:
            self._length, self._next = max(_LEAST, self._length // 2), None
        elif seconds < _SECOND:
            self._length = min(_LARGEST, 2 * self._length)

    def close(self) -> None:
        self._pool.shutdown()

    def _read(self, offset: int) -> tuple[bytes, str]:
        piece = os.pread(self._file.fileno(), min(self._length, self._size - offset), offset)
        return piece, f"sha256 {base64.b64encode(hashlib.sha256(piece).digest()).decode()}"


class Upload:
    """One upload at a server, known by its ``id`` there. ``patience``: seconds that it may stand still."""

    def __init__(self, connection: client.Client, source: Source, found: Any, shown: Shown, patience: float) -> None:
        self.id: str = found["id"]
        self.offset: int = found["offset"]
        self._path = f"/uploads/{self.id}"
        self._connection, self._source, self._shown, self._patience = connection, source, shown, patience
        self._moved, self._wait, self._spoilt = time.monotonic(), _FIRST_WAIT, 0

    def send(self) -> None:
        """All that is missing. Failure."""
        with self._source.path.open("rb") as file:
            ahead = Ahead(file, self._source.size)
            try:
                while self.offset < self._source.size:
                    self._shown.at(self.offset)
                    piece, began = ahead.at(self.offset), time.monotonic()
                    ahead.went(time.monotonic() - began if self._piece(*piece) else None)
            finally:
                ahead.close()
        self._shown.at(self.offset)
        if Source.of(self._source.path) != self._source:
            remedy = f"discard it (ggnet image discard {self.id}), and upload it again when nobody writes to it"
            raise Failure(f"{self._source.path} has changed while it was sent", remedy=remedy)

    def _piece(self, piece: bytes, checksum: str) -> bool:
        """Sends it, or waits and asks how far it is. Whether it arrived."""
        headers = {
            **_TUS,
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(len(piece)),
            "Upload-Offset": str(self.offset),
            "Upload-Checksum": checksum,
        }
        try:
            answer = self._connection.exchange("PATCH", self._path, self._sliced(piece), headers=headers)
        except client.Unreachable as error:
            self._later(error, 0.0)
            return False
        if answer.status_code != 204:
            self._refused(answer)
            return False
        self.offset = int(answer.headers["Upload-Offset"])
        self._moved, self._wait, self._spoilt = time.monotonic(), _FIRST_WAIT, 0
        return True

    def _sliced(self, piece: bytes) -> "client.Body":
        def slices() -> Iterator[bytes]:
            for start in range(0, len(piece), _SLICE):
                yield piece[start : start + _SLICE]
                self._shown.at(self.offset + min(start + _SLICE, len(piece)))

        return slices

    def _refused(self, answer: "httpx.Response") -> None:
        """Failure, unless it may be better in a moment."""
        refusal = client.failure(answer)
        self._spoilt += answer.status_code == 460
        if answer.status_code not in _LATER or self._spoilt >= _SPOILT:
            raise refusal
        after = answer.headers.get("Retry-After", "")
        self._later(refusal, float(after) if after.isdigit() else 0.0)

    def _later(self, why: Failure, least: float) -> None:
        """Failure, once it has stood still for too long."""
        while True:
            wait = max(least, self._wait)
            if time.monotonic() + wait > self._moved + self._patience:
                raise why
            self._shown.waits(str(why), wait)
            time.sleep(wait)
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            try:
                answer = self._connection.exchange("GET", self._path)
            except client.Unreachable as error:
                why, least = error, 0.0
                continue
            if answer.is_success:
                self.offset = answer.json()["offset"]
                return
            if answer.status_code not in _LATER:
                raise client.failure(answer)


def begun(connection: client.Client, source: Source) -> Any | None:
    """The upload of the same file that is there already, whole or not. Failure."""
    token = None
    while True:
        page = connection.get("/uploads", **{"limit": 1000, "continue": token})
        for one in page["items"]:
            if one["metadata"].get("fingerprint") == source.fingerprint and one["length"] == source.size:
                return one
        token = page["metadata"].get("continue")
        if token is None:
            return None


def begin(connection: client.Client, source: Source) -> Any:
    """A new upload. Failure."""
    headers = {**_TUS, "Upload-Length": str(source.size), "Upload-Metadata": source.metadata()}
    return connection.post("/uploads", headers=headers)


def discard(connection: client.Client, upload: str) -> None:
    """Failure."""
    if not upload.isascii() or not upload.isalnum():
        raise Failure(f"{upload!a} is no upload's ID", ERROR, remedy="see ggnet image uploads")
    connection.call("DELETE", f"/uploads/{upload}", headers=_TUS)
