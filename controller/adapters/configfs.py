"""The one door to the kernel's target: the few file operations that LIO's configfs knows, below ``target/``.

Every operation is one system call with an effect of its own; there is no transaction. Paths are relative to
``target/`` and have no ``..``, so that nothing leads out of it; what may be a segment is decided by whoever makes one.
"""

import os
import posixpath
from pathlib import Path
from typing import Protocol

from manifests.types import shown

_PAGE = 4096  # no attribute is longer (configfs: one page)


class ReadableFs(Protocol):
    """The looks. Each raises OSError as the kernel answers; values come without the trailing newline or NUL."""

    def readlink(self, path: str) -> str:
        """Where the link leads, as a path below ``target/``. EINVAL when it is not a link."""

    def read(self, path: str) -> str: ...

    def listdir(self, path: str) -> tuple[str, ...]:
        """Names, sorted."""

    def exists(self, path: str) -> bool:
        """OSError only when that cannot be told."""


class ConfigFs(ReadableFs, Protocol):
    """The looks and the changes."""

    def mkdir(self, path: str) -> None: ...

    def rmdir(self, path: str) -> None: ...

    def symlink(self, source: str, path: str) -> None:
        """``path`` becomes a link to ``source``; both below ``target/``."""

    def unlink(self, path: str) -> None: ...

    def write(self, path: str, value: str) -> None: ...

    def problem(self) -> str | None:
        """Why there is no target to talk to, with the remedy; None when there is one."""


class KernelConfigFs:
    """The real one. ``mount`` is where configfs is mounted."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount
        self._root = str(mount / "target")

    def mkdir(self, path: str) -> None:
        Path(self._at(path)).mkdir()

    def rmdir(self, path: str) -> None:
        Path(self._at(path)).rmdir()

    def symlink(self, source: str, path: str) -> None:
        Path(self._at(path)).symlink_to(self._at(source))

    def unlink(self, path: str) -> None:
        Path(self._at(path)).unlink()

    def readlink(self, path: str) -> str:
        place = self._at(path)
        led = os.readlink(place)  # noqa: PTH115 - for every target of every look
        below = f"{self._root}/"
        if led.startswith(below) and not _astray(led[len(below) :]):
            return led[len(below) :]
        led = posixpath.normpath(posixpath.join(posixpath.dirname(place), led))
        return posixpath.relpath(led, self._root)

    def read(self, path: str) -> str:
        fd = os.open(self._at(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, _PAGE).decode("ascii", "backslashreplace").rstrip("\n\0")
        finally:
            os.close(fd)

    def write(self, path: str, value: str) -> None:
        """One write(2): configfs takes a value whole. Never creates a file."""
        fd = os.open(self._at(path), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode("ascii"))
        finally:
            os.close(fd)

    def listdir(self, path: str) -> tuple[str, ...]:
        return tuple(sorted(os.listdir(self._at(path) if path else self._root)))  # noqa: PTH208 - names alone, no stat

    def exists(self, path: str) -> bool:
        try:
            os.lstat(self._at(path))
        except FileNotFoundError:
            return False
        return True

    def problem(self) -> str | None:
        try:
            os.listdir(f"{self._root}/core")  # noqa: PTH208
        except PermissionError:
            return f"{self._root} may not be read: run the controller as root, as its systemd unit does"
        except OSError:
            if not os.path.ismount(self._mount):
                return f"{self._mount} is not mounted: mount -t configfs configfs {self._mount}"
            return f"{self._root} is not there: modprobe -a target_core_mod target_core_file iscsi_target_mod"
        return None

    def _at(self, path: str) -> str:
        if _astray(path):
            raise ValueError(f"{shown(path)} is not a path below {self._root}")
        return f"{self._root}/{path}"


def _astray(path: str) -> bool:
    """Whether a path has an empty segment, ``.`` or ``..``: asked of every path of every look, so quick at saying no."""
    suspicious = "/." in path or "//" in path or "\0" in path or path[:1] in ("", ".", "/") or path[-1] == "/"
    return suspicious and ("\0" in path or any(segment in ("", ".", "..") for segment in path.split("/")))
