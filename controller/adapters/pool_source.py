"""An image's source in the import folder: opened without following any link, and looked at before it is believed."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.adapters.images.examine import header
from controller.adapters.images.problem import SourceProblem
from controller.adapters.images.sniff import Format, sniff
from controller.core.observed import Stamp
from manifests.types import shown

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def opened(imports: Path, source: str) -> Iterator[int]:
    """A descriptor of the plain file ``source`` below ``imports``. SourceProblem, also for a link on the way there."""
    parts = source.split("/")
    if "\0" in source or any(part in ("", ".", "..") for part in parts):
        raise SourceProblem("SourceInvalid", f"{shown(source)} is not a plain relative path below {imports}")
    fd = _open(imports, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, None, str(imports))
    try:
        for part in parts[:-1]:
            deeper = _open(part, _FOLDER, fd, source)
            os.close(fd)
            fd = deeper
        last = _open(parts[-1], _FILE, fd, source)
        os.close(fd)
        fd = last
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            kind = "a folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "not a plain file"
            raise SourceProblem("SourceNotAFile", f"{source} is {kind}")
        yield fd
    finally:
        os.close(fd)


def _open(name: str | Path, flags: int, folder: int | None, source: str) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        raise SourceProblem("SourceMissing", f"{source} is not there") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise SourceProblem(
                "SourceLink", f"{source} leads over a symbolic link or a file: only plain folders do"
            ) from error
        raise SourceProblem("SourceUnreadable", f"{source} cannot be read: {error.strerror}") from error


def stamp(fd: int) -> Stamp:
    found = os.fstat(fd)
    return Stamp(found.st_size, found.st_mtime_ns)


@contextmanager
def about(source: str) -> Iterator[None]:
    """What is wrong is told with the name of whom it is told of."""
    try:
        yield
    except SourceProblem as problem:
        raise SourceProblem(problem.reason, f"{source}: {problem}") from problem


def inspect(fd: int, source: str, wanted: str = "auto") -> Format:
    """What its content and its header tell that it is. SourceProblem if that is no disk, or not ``wanted`` by the Image."""
    size = os.fstat(fd).st_size
    with about(source):
        found = sniff(fd, size)
        if wanted not in ("auto", found):
            raise SourceProblem("SourceFormat", f"its content is {found}, not {wanted}: change spec.format")
        header(fd, found, tables=False)
    return found
