"""Images in the pool: where their sources lie, and how a source becomes a version.

``images/NAME@vN.raw`` is a version, read-only, with ``NAME@vN.json`` beside it: what it is and what it was made from, and by
its time stamp when it was last used. The file gets its name last, when all is there that vouches for it; one without a
sidecar is no version.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from controller.adapters import download_part, download_vain, files, pool_copy, pool_source
from controller.adapters.images import examine
from controller.adapters.images.problem import SourceProblem
from controller.adapters.pool_room import Room, entries, finish, temp
from controller.adapters.pool_sidecar import Unreadable, read, sidecar, vouch
from controller.adapters.pool_uses import Uses, named
from controller.adapters.uploads_folder import ID
from controller.adapters.workers import Job
from controller.core import backoff, names
from controller.core.desired import Golden, committed
from controller.core.observed import ImageFile, SourceFile, Stamp
from controller.core.steps import CommitOverlay, ImportImage
from controller.ports.clock import Clock
from controller.ports.host import EffectFailed, EffectRefused


class Images:
    """Paths are below ``imports``, uploads in ``uploads``, what was fetched in the pool's own folder for that."""

    def __init__(self, room: Room, imports: Path, uploads: Path, uses: Uses, clock: Clock) -> None:
        self._room, self._imports, self._uploads, self._uses, self._clock = room, imports, uploads, uses, clock
        self._remembered: set[tuple[str, str]] = set()
        self._folder, self._downloads = room.root / names.GOLDEN_FOLDER, room.root / download_part.FOLDER
        self._judged: dict[tuple[str, str], tuple[Stamp, str, str | None]] = {}

    # --- looking --------------------------------------------------------------------------------------------

    def versions(self, unreadable: dict[str, str]) -> Mapping[str, Mapping[int, ImageFile]]:
        found: dict[str, dict[int, ImageFile]] = {}
        there = entries(self._folder)
        for name in sorted(there):
            parsed = names.parse_golden(name)
            if parsed is None or sidecar(name) not in there:
                continue
            try:
                found.setdefault(parsed[0], {})[parsed[1]] = read(self._folder, *parsed)
            except Unreadable as problem:
                unreadable[parsed[0]] = str(problem)
        return {image: versions for image, versions in found.items() if versions}

    def source(self, image: Golden) -> SourceFile:
        """Looked into when it is new or has changed: its header, and that it is of the format that is said of it. What is
        to be fetched is looked into once it is here."""
        if image.origin == "url":
            return SourceFile(None)
        try:
            with self._opened(image) as fd:
                stamp = pool_source.stamp(fd)
                known = self._judged.get((image.origin, image.source))
                if known is None or known[:2] != (stamp, image.format):
                    known = (stamp, image.format, _judged(fd, image))
                    self._judged[image.origin, image.source] = known
                return SourceFile(stamp if known[2] is None else None, known[2])
        except SourceProblem as problem:
            return SourceFile(None, str(problem))

    def brought(self) -> frozenset[str]:
        """As of ``PoolState``. Uploads elsewhere than in the pool may be other servers' to import too. OSError."""
        found = {f"sha256 {digest}" for digest in download_part.there(self._downloads)}
        if self._uploads.is_relative_to(self._room.root) and not self._uploads.is_symlink():
            found |= {f"upload {name}" for name in entries(self._uploads) if ID(name)}
        return frozenset(found)

    def remember(self, action: ImportImage) -> None:
        """What was fetched in vain before this process began is asked for no sooner because of it. EffectRefused."""
        source = (str(action.sha256), action.source)
        if source not in self._remembered:
            self._remembered.add(source)
            vain = download_vain.read(self._downloads, *source)
            left = vain.until - self._clock.now().timestamp() if vain else 0.0
            if vain and 0 < left <= backoff.WRONG_LONGEST:
                raise EffectRefused("DigestMismatch", vain.said, left)

    def discard(self, upload: str) -> None:
        """EffectRefused, OSError."""
        identity = f"upload {upload}"
        versions = (one for versions in self.versions({}).values() for one in versions.values())
        if identity not in self.brought() or all(one.identity != identity for one in versions):
            raise EffectRefused("SourceNeeded", f"upload {upload} is kept: no version was made of it")
        files.remove(self._uploads / upload)

    @contextmanager
    def _opened(self, one: Golden | ImportImage) -> Iterator[int]:
        """SourceProblem."""
        folder, name, missing = self._place(one)
        try:
            with pool_source.opened(folder, name) as fd:
                yield fd
        except SourceProblem as problem:
            if problem.reason != "SourceMissing" or missing is None:
                raise
            raise SourceProblem(problem.reason, missing) from problem

    def _place(self, one: Golden | ImportImage) -> tuple[Path, str, str | None]:
        """The folder, the name in it, and what is said where nothing is there."""
        match one.origin:
            case "upload":
                gone = f"upload {one.source} is not finished, was discarded, or was imported already"
                return self._uploads, one.source, gone
            case "url":
                return self._downloads, str(one.sha256), f"{one.label} is not fetched yet"
            case "path":
                return self._imports, one.source, None

    # --- importing ------------------------------------------------------------------------------------------

    def make(self, action: ImportImage, job: Job, told: Callable[[float], None]) -> str:
        """How; or ``unchanged`` where the newest version has the same bytes and is no commit. SourceProblem, EffectError,
        OSError."""
        name = named(action.image, action.version)
        with self._opened(action) as source:
            before = pool_source.stamp(source)
            if self._complete(name):
                return self._made(action, before)
            examined = self._checked(source, action, job)
            self._folder.mkdir(mode=0o750, exist_ok=True)
            self._clear(name)
            newest = self._newest(action.image)
            with temp(self._folder / name) as (path, made):
                with pool_source.about(action.label):
                    method = self._fill(source, examined, made, job, told)
                if pool_source.stamp(source) != before:
                    raise EffectFailed("SourceChanged", f"{action.label} changed while it was imported")
                version = ImageFile(
                    action.version,
                    examined.virtual_size,
                    pool_copy.digest(made, job.check),
                    before,
                    action.identity,
                    0,
                    action.author,
                    action.comment,
                    action.parent,
                    format=examined.format,
                    remark=examined.remark or None,
                    layers=examined.layers,
                )
                same = newest and (newest.sha256, newest.size) == (version.sha256, version.size)
                if newest and same and not committed(newest.identity):
                    vouch(self._folder, newest, action.image, before, action.identity)
                    return "unchanged"
                self._publish(version, action.image, path, made, method)
        return method

    def commit(self, action: CommitOverlay, disk: int, job: Job, told: Callable[[float], None]) -> str:
        """``disk`` becomes a version, with its base's stamp: the source is not to be imported again over it. EffectError,
        OSError."""
        image, name = action.name.image, named(action.name.image, action.version)
        if self._complete(name):
            if self._readable(image, action.version).identity != action.identity:
                raise EffectFailed("VersionTaken", f"{image}@v{action.version} is there already, from another source")
            return pool_copy.method(str(self._folder / name))
        base = self._readable(image, action.name.version)
        self._clear(name)
        with temp(self._folder / name) as (path, made):
            method = self._room.filled(disk, made, job, told=lambda part: self._going(part, told))
            version = ImageFile(
                action.version,
                os.fstat(made).st_size,
                pool_copy.digest(made, job.check),
                base.stamp,
                action.identity,
                0,
                action.author,
                action.comment,
                action.name.version,
            )
            self._publish(version, image, path, made, method)
        return method

    def _going(self, part: float, told: Callable[[float], None]) -> None:
        self._room.keep_reserve(0)
        told(part)

    def _clear(self, name: str) -> None:
        """Either, left alone, would belong to the other that comes now. OSError."""
        for left in (sidecar(name), name):
            files.remove(self._folder / left)

    def _publish(self, version: ImageFile, image: str, path: Path, made: int, method: str) -> None:
        """Vouched for first, then it gets its name. OSError."""
        name = names.golden(image, version.version)
        vouch(self._folder, version, image, version.stamp, version.identity)
        try:
            self._uses.note(image, version.version)
            finish(path, made, self._folder / name, 0o440, method)
        except OSError:
            if not os.path.lexists(self._folder / name):
                files.remove(self._folder / sidecar(name))
            raise

    def _checked(self, source: int, action: ImportImage, job: Job) -> examine.Examined:
        """SourceProblem. A download that is another file than was asked for is of no use to anybody."""
        try:
            return _examined(source, action, job)
        except SourceProblem as problem:
            if problem.reason == "DigestMismatch" and action.origin == "url":
                said, now = str(problem), self._clock.now()
                problem.again = download_vain.note(self._downloads, str(action.sha256), action.source, said, now)
            raise

    def _fill(self, source: int, image: examine.Examined, made: int, job: Job, told: Callable[[float], None]) -> str:
        if image.format == "raw":
            return self._room.filled(source, made, job, told=lambda part: self._going(part, told))

        def check(call: str) -> None:
            job.check(call)
            self._room.keep_reserve(0)

        examine.convert(source, image, made, progress=told, check=check)
        check("converted")
        return pool_copy.COPY

    def _complete(self, name: str) -> bool:
        return os.path.lexists(self._folder / name) and os.path.lexists(self._folder / sidecar(name))

    def _made(self, action: ImportImage, stamp: Stamp) -> str:
        """The version is there already: right if it is from this source, and never written again."""
        done = self._readable(action.image, action.version)
        if (done.stamp, done.identity) != (stamp, action.identity):
            raise EffectFailed("VersionTaken", f"{action.image}@v{action.version} is there already, from another source")
        return pool_copy.method(str(self._folder / names.golden(action.image, action.version)))

    def _readable(self, image: str, version: int) -> ImageFile:
        """EffectRefused."""
        try:
            return read(self._folder, image, version)
        except Unreadable as problem:
            raise EffectRefused("VersionUnreadable", str(problem)) from problem

    def _newest(self, image: str) -> ImageFile | None:
        versions = self.versions({}).get(image, {})
        return versions[max(versions)] if versions else None


def _judged(fd: int, image: Golden) -> str | None:
    """What is wrong with it, as far as its header tells."""
    try:
        pool_source.inspect(fd, image.source, image.format)
    except SourceProblem as problem:
        return str(problem)
    return None


def _examined(fd: int, action: ImportImage, job: Job) -> examine.Examined:
    """SourceProblem."""
    with pool_source.about(action.label):
        if action.sha256 is not None and (found := pool_copy.digest(fd, job.check)) != action.sha256:
            remedy = "correct the digest or the url" if action.origin == "url" else "bring it again, or correct the digest"
            raise SourceProblem("DigestMismatch", f"its sha256 is {found}, not that of spec.source.sha256: {remedy}")
    form = pool_source.inspect(fd, action.label, action.format)
    with pool_source.about(action.label):
        return examine.examine(fd, form, check=job.check)
