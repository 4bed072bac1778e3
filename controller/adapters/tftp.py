"""The TFTP tree: the folder ``ggnet`` below the TFTP root, and nothing else.

The folder is opened once and all else relative to it, and no symbolic link is ever followed: what stands in the place
of one of our files is told, and replaced by name. Each of our paths has one grammar, so none can lead elsewhere.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from anyio import to_thread

from controller.adapters import files, ticks
from controller.core.names import BOOT_FOLDER, MACHINES_FOLDER, Site
from controller.core.observed import BootFileState
from controller.core.render import ipxe
from controller.core.render.dhcpd import NBPS
from controller.core.steps import DeleteBootFile, WriteBootFile
from controller.ports.host import EffectFailed, EffectRefused, TftpState
from manifests.types import shown

_LIMIT = 16 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = _OPEN | os.O_DIRECTORY
_LITTER = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp", re.ASCII)
_Found = dict[str, tuple[ticks.Stamp | None, BootFileState]]
_KINDS = {stat.S_IFLNK: "symbolic link", stat.S_IFDIR: "folder"}


class _Unusable(Exception):
    """The tree cannot be used as it is; the message says what to do."""


class TftpTree:
    """Answers ``ports.Tftp``. ``nbp_dir`` is where the network boot programs come from."""

    def __init__(self, root: Path, nbp_dir: Path, site: Site) -> None:
        self._root = root
        self._nbp_dir = nbp_dir
        self._site = site
        self._last: _Found = {}
        self._hashed: dict[str, tuple[tuple[int, ...], str]] = {}
        self._tidied = False

    async def observe(self, paths: Collection[str] | None) -> TftpState:
        return await to_thread.run_sync(self._observe, paths)

    async def write(self, action: WriteBootFile) -> None:
        """EffectRefused, EffectFailed."""
        await to_thread.run_sync(self._write, action)

    async def delete(self, action: DeleteBootFile) -> None:
        """EffectRefused (for a file that does not carry our mark), EffectFailed."""
        await to_thread.run_sync(self._delete, action.path)

    # --- looking ------------------------------------------------------------------------------------------------

    def _observe(self, paths: Collection[str] | None) -> TftpState:
        tick = ticks.now()
        nbps = {name: sha256 for name in NBPS if (sha256 := self._program(name))}
        unreadable: dict[str, str] = {}
        found: _Found = {}
        try:
            for folder, names in _by_folder(paths).items():
                with self._opened(folder) as fd:
                    for name in () if fd is None else sorted(_names(fd) if names is None else names):
                        if fd is not None and f"{folder}/{name}" != MACHINES_FOLDER:
                            self._look(fd, folder, name, tick, found, unreadable)
        except _Unusable as error:
            return TftpState({}, nbps, unreadable={"tftp": str(error)})
        self._last = found if paths is None else {**self._last, **found}
        files = {path: state for path, (_, state) in found.items()}
        foreign = tuple(path for path, state in files.items() if not state.ours)
        return TftpState(files, nbps, foreign, unreadable)

    def _look(self, fd: int, folder: str, name: str, tick: int, found: _Found, unreadable: dict[str, str]) -> None:
        """A file that is as it was, by a stamp that proves it, is not read again."""
        path = f"{folder}/{name}"
        last = self._last.get(path)
        try:
            there = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if last is not None and ticks.same(there, last[0]):
                found[path] = last
                return
            stamp = ticks.stamp(there, tick)
            data = _bytes(fd, name)
            if data is None:
                kind = stat.S_IFMT(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
                found[path] = None, BootFileState(_KINDS.get(kind, "device"), ours=False)
                return
        except FileNotFoundError:
            return
        except OSError as error:
            unreadable[path] = f"{self._root / path} cannot be read: {error.strerror or error}"
            return
        sha256 = hashlib.sha256(data).hexdigest()
        if last is not None and last[1].sha256 == sha256:
            found[path] = stamp, last[1]  # whose it is follows from its path and its bytes
        else:
            found[path] = stamp, BootFileState(sha256, *ipxe.owner(path, data, self._site))

    def _program(self, name: str) -> str | None:
        """sha256 of a network boot program, remembered as long as its inode says that it is the same."""
        path = self._nbp_dir / name
        try:
            info = path.stat()
            stamp = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
            known = self._hashed.get(name)
            if known and known[0] == stamp:
                return known[1]
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(info.st_mode) else None
        except OSError:
            return None
        if sha256:
            self._hashed[name] = (stamp, sha256)
        return sha256

    # --- changing -----------------------------------------------------------------------------------------------

    def _write(self, action: WriteBootFile) -> None:
        folder, name = self._fenced(action.path)
        data = self._content(action)
        try:
            with self._opened(folder, make=True) as fd:
                assert fd is not None, "it was made"
                self._tidy(fd, folder)
                if not _holds(fd, name, data):
                    files.replace(Path(f"/proc/self/fd/{fd}") / name, data)
        except _Unusable as error:
            raise EffectRefused("TftpNotUsable", str(error)) from error
        except IsADirectoryError as error:
            message = f"{self._root / action.path} is a folder: remove it"
            raise EffectRefused("BootFileInTheWay", message) from error
        except OSError as error:
            message = f"{self._root / action.path} cannot be written: {error.strerror or error}"
            raise EffectFailed("BootFileNotWritten", message) from error

    def _content(self, action: WriteBootFile) -> bytes:
        if action.text is not None:
            return action.text.encode()
        if action.nbp is None or action.nbp not in NBPS:
            raise EffectRefused("BootProgramMissing", f"{shown(action.nbp)} is not one of {', '.join(NBPS)}")
        try:
            return (self._nbp_dir / action.nbp).read_bytes()
        except OSError as error:
            message = f"{self._nbp_dir / action.nbp} cannot be read ({error.strerror}): apt install ipxe"
            raise EffectRefused("BootProgramMissing", message) from error

    def _delete(self, path: str) -> None:
        folder, name = self._fenced(path)
        found: _Found = {}
        unreadable: dict[str, str] = {}
        try:
            with self._opened(folder) as fd:
                if fd is None:
                    return
                self._look(fd, folder, name, ticks.now(), found, unreadable)
                if path in unreadable:
                    raise EffectFailed("BootFileNotDeleted", unreadable[path])
                if path in found and not found[path][1].ours:
                    raise EffectRefused("BootFileNotOurs", f"{self._root / path} does not carry our mark: it is left alone")
                files.remove(Path(f"/proc/self/fd/{fd}") / name)
        except _Unusable as error:
            raise EffectRefused("TftpNotUsable", str(error)) from error
        except OSError as error:
            message = f"{self._root / path} cannot be deleted: {error.strerror or error}"
            raise EffectFailed("BootFileNotDeleted", message) from error

    def _fenced(self, path: str) -> tuple[str, str]:
        if not ipxe.is_boot_path(path):
            raise EffectRefused("BootPathRefused", f"{shown(path)} is not a boot file's path")
        folder, _, name = path.rpartition("/")
        return folder, name

    def _tidy(self, fd: int, folder: str) -> None:
        """Once in a life: what a killed predecessor left half written."""
        if self._tidied or folder != MACHINES_FOLDER:
            return
        self._tidied = True
        for name in _names(fd):
            match = _LITTER.fullmatch(name)
            if match and ipxe.is_boot_path(f"{folder}/{match[1]}"):
                files.remove(Path(f"/proc/self/fd/{fd}") / name)

    @contextmanager
    def _opened(self, folder: str, make: bool = False) -> Iterator[int | None]:
        """The folder's descriptor, reached without following a link; None when it is absent. _Unusable."""
        fds: list[int] = []
        try:
            fds.append(self._open_root())
            for part in folder.split("/"):
                if make:
                    _make(fds[-1], part)
                try:
                    fds.append(os.open(part, _FOLDER, dir_fd=fds[-1]))
                except FileNotFoundError:
                    yield None
                    return
                except NotADirectoryError:
                    path = self._root / folder[: folder.index(part) + len(part)]
                    raise _Unusable(f"{path} is not a folder, or a link, which is never followed: remove it") from None
                except OSError as error:
                    raise _Unusable(f"{self._root / folder} cannot be opened: {error.strerror}") from error
            yield fds[-1]
        finally:
            for fd in fds:
                os.close(fd)

    def _open_root(self) -> int:
        try:
            return os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _Unusable(f"{self._root} is missing: install tftpd-hpa, or set GGNET_TFTP_ROOT") from None
        except OSError as error:
            raise _Unusable(f"{self._root} cannot be used: {error.strerror}") from error


def _by_folder(paths: Collection[str] | None) -> Mapping[str, Collection[str] | None]:
    """Folder -> names to look at; None for all that are there."""
    if paths is None:
        return {BOOT_FOLDER: None, MACHINES_FOLDER: None}
    wanted: dict[str, list[str]] = {}
    for path in filter(ipxe.is_boot_path, paths):
        folder, _, name = path.rpartition("/")
        wanted.setdefault(folder, []).append(name)
    return wanted


def _bytes(folder: int, name: str) -> bytes | None:
    """A plain file's bytes, mostly by one call each of open, fstat and read; None for what is no plain file. OSError."""
    try:
        fd = os.open(name, _OPEN, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket, or a pipe that nobody reads
            return None
        raise
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            return None
        data = os.read(fd, min(info.st_size, _LIMIT) + 1)
        while len(data) != info.st_size and (more := os.read(fd, _LIMIT)):  # it is being written, or is huge
            data += more
            if len(data) > _LIMIT:
                raise OSError(errno.EFBIG, f"larger than {_LIMIT} bytes")
        return data
    finally:
        os.close(fd)


def _names(fd: int) -> list[str]:
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries]


def _make(parent: int, name: str) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return
    os.chmod(name, 0o755, dir_fd=parent)  # noqa: S103 (the TFTP server is another user)
    os.fsync(parent)


def _holds(fd: int, name: str, data: bytes) -> bool:
    """Whether the file has these bytes already, and can be read by the TFTP server."""
    try:
        file = os.open(name, _OPEN, dir_fd=fd)
        readable = stat.S_IMODE(os.fstat(file).st_mode) & 0o044 == 0o044
        return files.read_open(file, Path(name), _LIMIT) == data and readable
    except OSError:
        return False
