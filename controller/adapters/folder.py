"""A folder of manifests as a source. What changes while it is read was not read whole."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from anyio import to_thread

from controller.adapters.watch import hints
from controller.ports.sources import Snapshot, SourceError
from manifests.load import MAX_FILE_BYTES, is_manifest


@dataclass(slots=True)
class FolderSource:
    folder: Path
    poll_seconds: float
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = str(self.folder)

    async def read(self) -> Snapshot:
        return await to_thread.run_sync(self._read)

    async def watch(self, wake: Callable[[], None]) -> None:
        await hints([self.folder], self.poll_seconds, wake)

    def _read(self) -> Snapshot:
        try:
            before = self._stamps()
            files = {name: _content(self.folder / name) for name in before}
            if self._stamps() != before:
                raise SourceError(f"{self.folder} changed while it was read; it is read again")
        except OSError as error:
            raise SourceError(f"{self.folder}: {error.strerror}: {error.filename}") from error
        digest = hashlib.sha256()
        for name, content in files.items():
            digest.update(f"{name}\0{len(content)}\0".encode(errors="surrogateescape") + content)
        return Snapshot(digest.hexdigest(), "", "", files)

    def _stamps(self) -> dict[str, tuple[int, int, int]]:
        return dict(sorted(self._walk(self.folder)))

    def _walk(self, folder: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(about.st_mode):
                    yield from self._walk(Path(entry.path))
                elif is_manifest(entry.name):
                    if not stat.S_ISREG(about.st_mode):
                        raise SourceError(f"{entry.path} is not a plain file; a manifest is never a link or a device")
                    if about.st_size > MAX_FILE_BYTES:
                        raise SourceError(
                            f"{entry.path} has {about.st_size} bytes; a manifest file has at most {MAX_FILE_BYTES}"
                        )
                    yield str(Path(entry.path).relative_to(self.folder)), (about.st_ino, about.st_size, about.st_mtime_ns)


def _content(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_FILE_BYTES + 1)
