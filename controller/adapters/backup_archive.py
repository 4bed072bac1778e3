"""A backup as one file: a tar, compressed with gzip, whose first member says what the others must be.

It is written by the library and read by ourselves: all that a backup may hold is plain files under a few names, so a
link, a path that leads elsewhere or a header that claims gigabytes is refused by what it is, and nothing is unpacked.
"""

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from controller.ports.backup import BackupError, Contents

MANIFEST = "manifest.json"
FORMAT = 1
_NAME = re.compile(r"manifest\.json|tables/[a-z][a-z0-9_]{0,62}\.jsonl|state/(admin\.token|keys/\w[\w.-]{0,99})", re.ASCII)
_BLOCK = 512
_CHUNK = 1 << 20
_MANIFEST_LIMIT = 1 << 20
FILE_LIMIT = 1 << 20  # of a file of the state folder: keys are small

Kind = Literal["text", "int", "float", "bool", "time", "json", "bytes"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    name: str
    kind: Kind


class FilePart(_Strict):
    """``name`` is its place in the archive."""

    name: str
    size: Size
    sha256: Digest


class TablePart(FilePart):
    """One line a row: a JSON array with a value for each of ``columns``."""

    table: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    rows: Size
    columns: tuple[Column, ...]


class Manifest(_Strict):
    format: Literal[1]
    version: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-z_]{1,32}$")]
    made_at: AwareDatetime
    tables: tuple[TablePart, ...]
    files: tuple[FilePart, ...]

    @property
    def parts(self) -> tuple[FilePart, ...]:
        return (*self.tables, *self.files)

    @property
    def contents(self) -> Contents:
        tables = {part.table: part.rows for part in self.tables}
        return Contents(self.version, self.revision, self.made_at, tables, tuple(part.name for part in self.files))


def digest(path: Path) -> tuple[int, str]:
    """A file's size and SHA-256."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), found


def write(stream: IO[bytes], manifest: Manifest, bodies: Sequence[Path]) -> None:
    """``bodies`` are the files of ``manifest.parts``. OSError."""
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        head = manifest.model_dump_json(indent=1).encode()
        stamp = int(manifest.made_at.timestamp())
        tar.addfile(_member(MANIFEST, len(head), stamp), io.BytesIO(head))
        for part, body in zip(manifest.parts, bodies, strict=True):
            with body.open("rb") as file:
                tar.addfile(_member(part.name, part.size, stamp), file)


def _member(name: str, size: int, stamp: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, stamp
    return info


class Reader:
    """Goes through an archive once, in its order: ``manifest`` is read at once, then ``parts`` gives each part.

    Every read checks size and digest against the manifest; BackupError names the part that does not fit.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        """BackupError."""
        self._packed = gzip.GzipFile(fileobj=stream, mode="rb")
        member = self._header()
        if member is None or member.name != MANIFEST or member.size > _MANIFEST_LIMIT:
            raise BackupError("this is no backup of ggnet: it does not begin with a manifest")
        self.manifest = _manifest(b"".join(self._body(member.size)))

    def parts(self) -> Iterator[tuple[FilePart, Iterator[bytes]]]:
        """Each part with its bytes, which are read to their end before the next. BackupError, also while they are read."""
        for part in self.manifest.parts:
            member = self._header()
            if member is None or (member.name, member.size) != (part.name, part.size):
                raise _damaged(f"{part.name} is missing or has another size")
            body = self._checked(part)
            yield part, body
            for _ in body:
                pass
        if self._header() is not None:
            raise _damaged("it holds more than its manifest says")
        for _ in iter(lambda: self._read(_CHUNK), b""):  # to the end, where gzip's own sum of it all is checked
            pass

    def _checked(self, part: FilePart) -> Iterator[bytes]:
        sha = hashlib.sha256()
        for chunk in self._body(part.size):
            sha.update(chunk)
            yield chunk
        if sha.hexdigest() != part.sha256:
            raise _damaged(f"{part.name} has another SHA-256 than its manifest says")

    def _header(self) -> tarfile.TarInfo | None:
        """The next member; None at the end of the tar. A plain file under a name of ours, or BackupError."""
        block = self._read(_BLOCK)
        if block == bytes(_BLOCK):
            return None
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError, ValueError):
            raise _damaged("a header is broken") from None
        if member.type != tarfile.REGTYPE or not _NAME.fullmatch(member.name) or member.size < 0:
            raise BackupError(f"the backup holds {member.name[:100]!a}, which no backup of ggnet does: it is refused whole")
        return member

    def _body(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            chunk = self._read(min(left, _CHUNK))
            if not chunk:
                raise _damaged("it ends too early")
            left -= len(chunk)
            yield chunk
        self._read(-size % _BLOCK)

    def _read(self, size: int) -> bytes:
        try:
            return self._packed.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(str(error) or "it cannot be unpacked") from None


def _damaged(what: str) -> BackupError:
    return BackupError(f"the backup is damaged: {what}; take another one")


def _manifest(data: bytes) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(word) for word in first["loc"]) or "the document"
        raise BackupError(f"the backup's manifest cannot be used: {where}: {first['msg']}; take another backup") from None
    for part in manifest.parts:
        expected = f"tables/{part.table}.jsonl" if isinstance(part, TablePart) else "state/"
        if not _NAME.fullmatch(part.name) or not part.name.startswith(expected):
            raise BackupError(f"the backup's manifest names {part.name[:100]!a}, which no backup of ggnet holds")
    if any(part.size > FILE_LIMIT for part in manifest.files):
        raise BackupError(f"the backup's manifest has a key of more than {FILE_LIMIT >> 20} MiB: take another backup")
    if len({part.name for part in manifest.parts}) < len(manifest.parts):
        raise BackupError("the backup's manifest names a part twice: take another backup")
    return manifest
