"""The files around a backup: where it goes, where it comes from, and what it takes of the state folder."""

import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from controller.adapters import files
from controller.adapters.backup_archive import FILE_LIMIT, FilePart, digest
from controller.ports.backup import BackupError

TOKEN = "admin.token"  # noqa: S105 the name of a file
KEYS = "keys"
_OURS = re.compile(r"ggnet-\d{8}T\d{6}Z\.tar\.gz", re.ASCII)


@contextmanager
def new_file(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A file that appears whole, durably and with mode 0600 at ``path``, where none may be yet; and a scratch folder.

    BackupError.
    """
    if path.is_symlink() or path.exists():
        raise BackupError(f"{path} exists: a backup overwrites nothing; give it another name")
    try:
        with tempfile.TemporaryDirectory(prefix=".ggnet-backup-", dir=path.parent) as folder:
            scratch = Path(folder)
            aside = scratch / "archive"
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                yield file, scratch
                file.flush()
                os.fsync(file.fileno())
            files.rename_durably(aside, path)
    except OSError as error:
        raise BackupError(
            f"{path} cannot be written: {error.strerror or error}; see its folder and the space there"
        ) from error


@contextmanager
def scratch(state_dir: Path) -> Iterator[Path]:
    """A private folder that goes again, where the state lies: what is put there is as secret. BackupError."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=".ggnet-backup-", dir=state_dir)
    except OSError as error:
        raise BackupError(f"{state_dir} cannot be written: {error.strerror}; run it as the daemon's user") from error
    with folder as name:
        yield Path(name)


@contextmanager
def opened(source: Path | None) -> Iterator[IO[bytes]]:
    """An archive to be read more than once; standard input (None) is kept in a file without a name. BackupError."""
    try:
        if source is None:
            with tempfile.TemporaryFile() as kept:
                shutil.copyfileobj(sys.stdin.buffer, kept)
                kept.seek(0)
                yield kept
        else:
            with source.open("rb") as file:
                yield file
    except OSError as error:
        raise BackupError(f"{source or 'standard input'} cannot be read: {error.strerror or error}") from error


def dated(folder: Path, now: datetime) -> Path:
    return folder / f"ggnet-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.tar.gz"


def forget(folder: Path, keep: int) -> list[Path]:
    """Removes the oldest of the backups that ``dated`` named; ``keep`` of them stay. OSError."""
    found = sorted(path for path in folder.iterdir() if _OURS.fullmatch(path.name) and path.is_file())
    old = found[: max(0, len(found) - keep)]
    for path in old:
        files.remove(path)
    return old


def secrets(state_dir: Path, scratch: Path) -> list[tuple[FilePart, Path]]:
    """What the state folder holds that is not made anew: plain files alone, copied as they are now. BackupError."""
    keys = state_dir / KEYS
    found = [state_dir / TOKEN] if (state_dir / TOKEN).exists() else []
    found += sorted(keys.iterdir()) if keys.is_dir() else []
    parts = []
    for number, path in enumerate(found):
        try:
            data = files.read(path, FILE_LIMIT)
        except OSError as error:
            reason = error.strerror or error
            raise BackupError(f"{path} cannot be backed up: {reason}; put it right, or use --without-keys") from None
        copy = scratch / f"secret-{number}"
        files.write(copy, data, 0o600)
        size, sha256 = digest(copy)
        parts.append((FilePart(name=f"state/{path.relative_to(state_dir)}", size=size, sha256=sha256), copy))
    return parts


def place(state_dir: Path, found: Mapping[str, bytes], *, replace: bool) -> None:
    """Each file with mode 0600, owned as the state folder is. BackupError."""
    try:
        owner = state_dir.stat()
        for name, data in found.items():
            path = state_dir / name
            if not replace and path.exists() and files.read(path, FILE_LIMIT) != data:
                raise BackupError(f"{path} is there and differs: use --replace, or --without-keys to let it stay")
        for name, data in found.items():
            path = state_dir / name
            if path.parent != state_dir:
                path.parent.mkdir(exist_ok=True, mode=0o700)
                own(path.parent, owner)
            files.replace(path, data, 0o600)
            own(path, owner)
    except OSError as error:
        raise BackupError(f"{error.filename or state_dir} cannot be written: {error.strerror or error}") from error


def own(path: Path, owner: os.stat_result) -> None:
    """What root makes belongs to whom its folder does, or the daemon could not read it."""
    if os.geteuid() == 0 and not stat.S_ISLNK(path.lstat().st_mode):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
