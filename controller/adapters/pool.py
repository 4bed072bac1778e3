"""The pool: golden images and the sessions' overlays as raw files on one file system.

``images/NAME@vN.raw`` is a version, read-only, with ``NAME@vN.json`` beside it: sha256, size, and the stamp of the source.
The sidecar is written last, so a version without one is half-made: not seen, and made anew by the next import.
``overlays/NAME`` are complete from the moment that they have their name. What a crash leaves behind is a hidden
``.*.tmp``, removed at the next chance. A golden file is opened for reading only, for ever.
"""

import errno
import json
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from controller.adapters import files, pool_copy, pool_source
from controller.adapters.pool_source import SourceProblem
from controller.adapters.workers import Job, Stuck, Workers
from controller.core import names
from controller.core.names import OverlayName
from controller.core.steps import CreateOverlay, DeleteOverlay, ImportImage
from controller.core.world import Golden, ImageFile, OverlayFile, PoolState, SourceFile, Stamp
from controller.ports.host import EffectError, EffectFailed, EffectRefused, PoolView
from manifests.types import shown

T = TypeVar("T")
_WHOLE = "pool"
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch
_TEMP = re.compile(r"\..+\.[0-9a-f]{12}\.tmp").fullmatch


class _Unreadable(Exception):
    """A version that is there and cannot be used: it is neither served nor replaced."""


class PoolDir:
    """Pool in the folder ``root``, sources in ``imports``. ``reserve`` is the part of the space that stays free."""

    def __init__(self, root: Path, imports: Path, *, reserve: float = 0.15) -> None:
        self._root = root
        self._imports = imports
        self._images = root / names.GOLDEN_FOLDER
        self._overlays = root / names.OVERLAY_FOLDER
        self._reserve = reserve
        # Apart, so that a long import delays neither a look nor a session; a disk gains nothing from more at once.
        self._looks, self._importers, self._cloners = Workers(2), Workers(2), Workers(4)
        self._seen: dict[str, tuple[tuple[int, int, int], OverlayFile]] = {}
        self._sweeping = threading.Lock()
        self._swept = False

    # --- the port -------------------------------------------------------------------------------------------

    async def observe(self, images: Collection[Golden]) -> PoolView:
        try:
            return await self._looks.run(object(), lambda job: self._observed(images), float("inf"))
        except FileNotFoundError:
            return PoolView(PoolState(), {_WHOLE: f"the pool {self._root} is not there: make or mount that folder"})
        except OSError as error:
            return PoolView(PoolState(), {_WHOLE: f"{error.filename or self._root}: {error.strerror}"})

    async def import_image(self, action: ImportImage) -> str:
        return await self._act(self._importers, f"image {action.image}", lambda job: self._import(action, job))

    async def create_overlay(self, action: CreateOverlay) -> str:
        return await self._act(self._cloners, f"overlay {action.name}", lambda job: self._create(action, job))

    async def delete_overlay(self, action: DeleteOverlay) -> None:
        name = f"overlay {action.name}"
        await self._act(self._cloners, name, lambda job: files.remove(self._overlay(action.name)))

    async def _act(self, workers: Workers, what: str, work: Callable[[Job], T]) -> T:
        def inside(job: Job) -> T:
            self._sweep()
            return work(job)

        try:
            return await workers.run(what, inside, float("inf"))
        except Stuck as stuck:
            raise EffectFailed("Busy", f"{shown(what)}: {stuck}") from stuck
        except SourceProblem as problem:
            raise EffectRefused(problem.reason, str(problem)) from problem
        except OSError as error:
            raise _failure(error, what) from error

    def _sweep(self) -> None:
        """What an earlier process left half-made, once, before this one makes anything: it cleans up after itself."""
        with self._sweeping:
            if not self._swept:
                for folder in (self._images, self._overlays):
                    for name in filter(_TEMP, _entries(folder)):
                        files.remove(folder / name)
                self._swept = True

    # --- looking --------------------------------------------------------------------------------------------

    def _observed(self, images: Collection[Golden]) -> PoolView:
        space = os.statvfs(self._root)  # told in whole hundredths: it moves all the time, and no plan turns on less
        unreadable: dict[str, str] = {}
        state = PoolState(
            self._versions(unreadable),
            self._overlay_files(unreadable),
            {image.name: self._source(image) for image in images},
            space.f_bavail * 100 // max(1, space.f_blocks) * (space.f_blocks * space.f_frsize // 100),
            space.f_blocks * space.f_frsize,
        )
        return PoolView(state, unreadable)

    def _versions(self, unreadable: dict[str, str]) -> Mapping[str, Mapping[int, ImageFile]]:
        found: dict[str, dict[int, ImageFile]] = {}
        entries = _entries(self._images)
        for name in sorted(entries):
            parsed = names.parse_golden(name)
            if parsed is None or _sidecar(name) not in entries:
                continue
            try:
                found.setdefault(parsed[0], {})[parsed[1]] = self._version(*parsed)
            except _Unreadable as problem:
                unreadable[parsed[0]] = str(problem)
        return {image: versions for image, versions in found.items() if versions}

    def _version(self, image: str, version: int) -> ImageFile:
        """A complete version, as its sidecar tells and its file bears out. _Unreadable."""
        golden = self._images / names.golden(image, version)
        try:
            told = json.loads(files.read(self._images / _sidecar(golden.name), 1 << 16))
            source = Stamp(int(told["source"]["size"]), int(told["source"]["mtime_ns"]))
            made = ImageFile(version, int(told["size"]), str(told["sha256"]), source)
            there = golden.lstat()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _Unreadable(f"{golden}, or the .json beside it, cannot be read: {error}") from error
        if not _SHA256(made.sha256) or not stat.S_ISREG(there.st_mode) or there.st_size != made.size:
            raise _Unreadable(f"{golden} is not the plain file of {made.size} bytes that the .json beside it tells of")
        return made

    def _complete(self, image: str, version: int) -> bool:
        golden = self._images / names.golden(image, version)
        return os.path.lexists(golden) and os.path.lexists(golden.with_name(_sidecar(golden.name)))

    def _overlay_files(self, unreadable: dict[str, str]) -> Mapping[str, OverlayFile]:
        """What is as it was (ctime moves with size, name and attributes) is told by the very object of the last look."""
        found: dict[str, OverlayFile] = {}
        seen: dict[str, tuple[tuple[int, int, int], OverlayFile]] = {}
        for name, entry in _entries(self._overlays).items():
            if OverlayName.parse(name) is None:
                continue
            try:
                there = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            stamp = (there.st_ino, there.st_size, there.st_ctime_ns)
            known = self._seen.get(name)
            if known is not None and known[0] == stamp:
                seen[name], found[name] = known, known[1]
            elif stat.S_ISREG(there.st_mode):
                found[name] = OverlayFile(there.st_size, pool_copy.method(entry.path))
                seen[name] = (stamp, found[name])
            else:
                unreadable[name] = f"{entry.path} is not a plain file"
        self._seen = seen
        return found

    def _source(self, image: Golden) -> SourceFile:
        try:
            with pool_source.opened(self._imports, image.source) as fd:
                pool_source.inspect(fd, image.source, image.format)
                return SourceFile(pool_source.stamp(fd))
        except SourceProblem as problem:
            return SourceFile(None, str(problem))

    # --- importing ------------------------------------------------------------------------------------------

    def _import(self, action: ImportImage, job: Job) -> str:
        name = names.golden(action.image, action.version)
        if names.parse_golden(name) != (action.image, action.version):
            raise EffectRefused("Invalid", f"{name!a} is not the name of an image's version")
        final = self._images / name
        with pool_source.opened(self._imports, action.source) as source:
            pool_source.inspect(source, action.source)
            before = pool_source.stamp(source)
            if self._complete(action.image, action.version):
                return self._imported(action, before)
            self._images.mkdir(mode=0o750, exist_ok=True)
            files.remove(self._images / _sidecar(name))  # one that is left alone would vouch for what comes now
            newest = self._newest(action.image)
            with self._temp(final) as (temp, made):
                method = self._filled(source, made, job)
                if pool_source.stamp(source) != before:
                    raise EffectFailed("SourceChanged", f"{action.source} changed while it was imported")
                sha256 = pool_copy.digest(made, job.check)
                if newest and (newest.sha256, newest.size) == (sha256, before.size):
                    self._write_sidecar(names.golden(action.image, newest.version), sha256, before)
                    return "unchanged"
                self._finish(temp, made, final, method, 0o440)
        self._write_sidecar(name, sha256, before)
        return method

    def _imported(self, action: ImportImage, stamp: Stamp) -> str:
        """The version is there already: right if it is from this source, and never written again."""
        try:
            done = self._version(action.image, action.version)
        except _Unreadable as problem:
            raise EffectRefused("VersionUnreadable", str(problem)) from problem
        if done.stamp != stamp:
            raise EffectFailed("VersionTaken", f"{action.image}@v{action.version} is there already, from another source")
        return pool_copy.method(str(self._images / names.golden(action.image, action.version)))

    def _newest(self, image: str) -> ImageFile | None:
        versions = self._versions({}).get(image, {})
        return versions[max(versions)] if versions else None

    def _write_sidecar(self, name: str, sha256: str, source: Stamp) -> None:
        told = {
            "sha256": sha256,
            "size": source.size,
            "source": {"size": source.size, "mtime_ns": source.mtime_ns},
        }
        files.replace(self._images / _sidecar(name), json.dumps(told).encode(), 0o440)

    # --- overlays -------------------------------------------------------------------------------------------

    def _create(self, action: CreateOverlay, job: Job) -> str:
        final = self._overlay(action.name)
        image, version = action.name.image, action.name.version
        if final.is_symlink() or final.exists():
            return self._created(final, action.size)
        if not self._complete(image, version):
            raise EffectRefused("ImageMissing", f"{image}@v{version} is not in the pool")
        golden = os.open(self._images / names.golden(image, version), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(golden).st_size
            if action.size < size or action.size % pool_source.SECTOR:
                raise EffectRefused("OverlaySize", f"{final.name}: {action.size} bytes cannot hold the {size} of its image")
            self._overlays.mkdir(mode=0o750, exist_ok=True)
            with self._temp(final) as (temp, made):
                method = self._filled(golden, made, job)
                os.ftruncate(made, action.size)
                self._finish(temp, made, final, method, 0o600)
        finally:
            os.close(golden)
        return method

    def _created(self, final: Path, size: int) -> str:
        found = final.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise EffectRefused(
                "OverlayInTheWay", f"{final} is there, and is not a plain file of {size} bytes: move it away"
            )
        return pool_copy.method(str(final))

    def _overlay(self, name: OverlayName) -> Path:
        if OverlayName.parse(str(name)) != name:
            raise EffectRefused("Invalid", f"{str(name)!a} is not an overlay's name")
        return self._overlays / str(name)

    # --- making a file --------------------------------------------------------------------------------------

    def _filled(self, source: int, made: int, job: Job) -> str:
        """The source's bytes are in ``made``: how. The reserve is for what running clients still write."""
        self._keep_reserve(0)
        if pool_copy.clone(source, made):
            return pool_copy.REFLINK
        self._keep_reserve(pool_copy.allocated(source))
        pool_copy.copy(source, made, job.check)
        return pool_copy.COPY

    def _keep_reserve(self, needed: int) -> None:
        space = os.statvfs(self._root)
        free, total = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
        if free - needed < total * self._reserve:
            left = max(0, free - needed) >> 20
            raise EffectRefused(
                "PoolReserve",
                f"the pool {self._root} would have {left} of {total >> 20} MiB left, less than the {self._reserve:.0%} that"
                " running clients may still write: delete sessions, or make it larger",
            )

    @contextmanager
    def _temp(self, final: Path) -> Iterator[tuple[Path, int]]:
        """A new file beside ``final``, which has its name only when it is complete; nothing is left of it otherwise."""
        temp = final.with_name(f".{final.name}.{secrets.token_hex(6)}.tmp")
        fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            yield temp, fd
        finally:
            os.close(fd)
            temp.unlink(missing_ok=True)

    def _finish(self, temp: Path, made: int, final: Path, method: str, mode: int) -> None:
        pool_copy.record_method(made, method)
        os.fchmod(made, mode)
        os.fsync(made)
        files.rename_durably(temp, final)


def _sidecar(golden: str) -> str:
    return f"{golden.removesuffix('.raw')}.json"


def _entries(folder: Path) -> dict[str, "os.DirEntry[str]"]:
    """By name; none in a folder that was never made, below a pool that is there."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries}
    except FileNotFoundError:
        folder.parent.stat()
        return {}


def _failure(error: OSError, what: str) -> EffectError:
    words = f"{shown(what)}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EffectFailed("PoolFull", f"{words}: delete sessions, or make the pool larger")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EffectRefused("NoPermission", f"{words} ({error.filename})")
    return EffectFailed("PoolError", f"{words} ({error.filename})" if error.filename else words)
