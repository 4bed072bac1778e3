"""The least that any program must do: read and compare the same bytes, write them durably. No product code here."""

import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

_SETS = ("/core", "/iscsi", "/lun", "/lun_0", "/acls", "/np")  # where something too much could be
_READ = os.O_RDONLY | os.O_CLOEXEC


def read(path: str) -> bytes:
    """A small file, in one call."""
    fd = os.open(path, _READ)
    try:
        return os.read(fd, 1 << 14)
    finally:
        os.close(fd)


@dataclass(slots=True)
class Picture:
    """What was there once, and the bare question whether it still is."""

    machines: Path
    files: list[Path]
    overlays: Path
    database: Path
    targets: Path | None = None
    scripts: dict[str, bytes] = field(default_factory=dict)
    contents: dict[Path, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    kernel: dict[str, bytes] = field(default_factory=dict)
    folders: dict[str, list[str]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def take(self) -> None:
        self.scripts = {name: read(f"{self.machines}/{name}") for name in os.listdir(self.machines)}
        self.contents = {path: path.read_bytes() for path in self.files}
        self.sizes = {entry.name: entry.stat().st_size for entry in os.scandir(self.overlays)}
        self.versions = self._rows()
        for folder, names, found in os.walk(self.targets) if self.targets else ():
            if folder.endswith(_SETS) or folder.rpartition("/")[0].endswith(("/iscsi", "/acls")):
                self.folders[folder] = sorted([*names, *found])
            for name in (*names, *found):
                path = f"{folder}/{name}"
                if os.path.islink(path):
                    self.links[path] = os.readlink(path)
                elif name in found:
                    self.kernel[path] = read(path)

    def same(self) -> bool:
        """The same as when it was taken."""
        folder = str(self.machines)
        names = os.listdir(folder)
        scripts = self.scripts
        same = len(names) == len(scripts)
        for name in names:
            same &= read(f"{folder}/{name}") == scripts.get(name)
        for path, data in self.contents.items():
            same &= path.read_bytes() == data
        same &= {entry.name: entry.stat().st_size for entry in os.scandir(self.overlays)} == self.sizes
        return same and self._rows() == self.versions and self._kernel()

    def _rows(self) -> dict[str, int]:
        connection = sqlite3.connect(self.database)
        rows = dict(connection.execute("SELECT key, resource_version FROM objects"))
        connection.close()
        return rows

    def _kernel(self) -> bool:
        same = True
        for folder, names in self.folders.items():
            same &= sorted(os.listdir(folder)) == names
        for path, data in self.kernel.items():
            same &= read(path) == data
        for path, led in self.links.items():
            same &= os.readlink(path) == led
        return same


def replace(path: Path, data: bytes) -> None:
    """Durably: the temporary file, its rename, the folder."""
    temp = f"{path}.tmp"
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    os.rename(temp, path)
    sync(path.parent)


def remove(path: Path) -> None:
    path.unlink()
    sync(path.parent)


def sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


class Rows:
    """A table in SQLite, written the way that outlives a power cut."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE rows (key PRIMARY KEY, v)"):
            self._connection.execute(statement)

    def write(self, key: str, value: str) -> None:
        self._connection.execute("INSERT INTO rows VALUES (?, ?) ON CONFLICT DO UPDATE SET v = excluded.v", (key, value))

    def close(self) -> None:
        self._connection.close()
