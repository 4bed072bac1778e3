"""Backups of the database and the keys: made, checked and restored."""

import sys
from pathlib import Path
from typing import IO

import anyio

from controller.adapters import backup, backup_files
from controller.bootstrap.folders import alone
from controller.bootstrap.here import clock
from controller.ports.backup import Contents
from controller.settings import Settings


def create(
    settings: Settings, to: Path | None, version: str, *, keys: bool, keep: int | None = None
) -> tuple[Contents, str]:
    """Into a new file, or a new file in a folder of which ``keep`` stay, or with None to standard output.

    What it holds, and where it is. BackupError, StoreError.
    """
    now, state = clock().now(), settings.state_dir if keys else None

    async def make(stream: IO[bytes], scratch: Path) -> Contents:
        return await backup.create(settings.database, state, version, now, stream, scratch)

    if to is None:
        with backup_files.scratch(settings.state_dir) as folder:
            return anyio.run(make, sys.stdout.buffer, folder), "standard output"
    path = backup_files.dated(to, now) if to.is_dir() else to
    with backup_files.new_file(path) as (stream, folder):
        contents = anyio.run(make, stream, folder)
    if keep is not None:
        backup_files.forget(path.parent, keep)
    return contents, str(path)


def check(source: Path | None) -> Contents:
    """All of an archive against its own manifest; None is standard input. BackupError."""
    with backup_files.opened(source) as stream:
        return backup.check(stream)


def restore(settings: Settings, source: Path | None, *, keys: bool, replace: bool) -> Contents:
    """The archive's database and keys in place of ours. BackupError, StoreError, AlreadyRunning."""

    async def run(stream: IO[bytes]) -> Contents:
        state = settings.state_dir if keys else None
        return await backup.restore(settings.database, stream, state, clock().now(), replace=replace)

    with backup_files.opened(source) as stream, alone(settings):
        return anyio.run(run, stream)
