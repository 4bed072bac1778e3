"""The pool: golden images and the sessions' overlays on one file system.

What a crash leaves behind is a hidden ``.*.tmp``, removed at the next chance. A golden file is opened for reading only,
for ever.
"""

import errno
import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from controller.adapters import download_part, files, pool_copy, pool_driver
from controller.adapters.clock import SystemClock
from controller.adapters.images.problem import SourceProblem
from controller.adapters.pool_images import Images
from controller.adapters.pool_overlays import Overlays
from controller.adapters.pool_room import Room, entries, is_temp
from controller.adapters.pool_uses import Uses
from controller.adapters.workers import Job, Stuck, Workers
from controller.core import names
from controller.core.desired import Golden
from controller.core.names import OverlayName
from controller.core.observed import OverlayFile, PoolState
from controller.core.steps import (
    ActivateOverlay,
    CommitOverlay,
    CreateOverlay,
    DeleteOverlay,
    DeleteVersion,
    DiscardSource,
    ImportImage,
    NoteUse,
    ReleaseVersion,
)
from controller.ports.clock import Clock
from controller.ports.host import EffectError, EffectFailed, EffectRefused, Fetched, PoolView
from manifests.types import shown

if TYPE_CHECKING:
    from controller.adapters.downloads import Downloads

T = TypeVar("T")
_WHOLE = "pool"
# A snapshot is made in milliseconds, but behind a disk that is busy with the flushes of many.
_DEADLINE, _LOOK = 30.0, 5.0


class PoolDir:
    """Pool in the folder ``root``, sources in ``imports`` and ``uploads``. ``reserve`` is the part of the space that stays
    free; ``driver`` how overlays are made: auto | reflink | snapshot | copy. ``downloads`` is asked for when there is
    something to fetch; without it nothing is."""

    def __init__(
        self,
        root: Path,
        imports: Path,
        *,
        uploads: Path | None = None,
        downloads: "Callable[[], Downloads] | None" = None,
        reserve: float = 0.15,
        driver: str = pool_driver.AUTO,
        clock: Clock | None = None,
    ) -> None:
        self._root = root
        self._room = Room(root, reserve)
        clock = clock or SystemClock()
        self._uses = Uses(self._room, clock)
        self._images = Images(self._room, imports, uploads or root / "uploads", self._uses, clock)
        self._fetching = cache(downloads) if downloads else None
        self._asked = driver
        self._driver: pool_driver.Choice | None = None
        self._overlays = Overlays(self._room, driver, self._uses)
        # Apart, so that a long import delays neither a look nor a session; a disk gains nothing from more at once.
        self._looks, self._importers, self._cloners = Workers(2), Workers(2), Workers(4)
        self._sweeping = threading.Lock()
        self._swept = False

    # --- the port -------------------------------------------------------------------------------------------

    async def observe(self, images: Collection[Golden], machines: Collection[str] | None = None) -> PoolView:
        try:
            driver, snapshots = await self._chosen(), await self._snapshots(machines)

            def inside(job: Job) -> PoolView:
                unreadable: dict[str, str] = {}
                overlays = self._overlays.look(machines, snapshots, unreadable)
                view = self._observed(images, driver, overlays, unreadable)
                carried = {} if machines is None else self._overlays.names.carried()
                return replace(view, state=replace(view.state, carried=carried))

            return await self._looks.run(object(), inside, float("inf"))
        except FileNotFoundError:
            return PoolView(PoolState(), {_WHOLE: f"the pool {self._root} is not there: make or mount that folder"})
        except OSError as error:
            return PoolView(PoolState(), {_WHOLE: f"{error.filename or self._root}: {error.strerror}"})

    async def import_image(self, action: ImportImage, told: Callable[[float], None] = lambda part: None) -> str:
        return await self._act(self._importers, f"image {action.image}", lambda job: self._images.make(action, job, told))

    async def delete_version(self, action: DeleteVersion) -> int:
        what = f"version {names.golden(action.image, action.version)}"
        return await self._act(self._cloners, what, lambda job: self._uses.delete(action))

    async def note_use(self, action: NoteUse) -> None:
        what = f"version {names.golden(action.image, action.version)}"
        await self._act(self._cloners, what, lambda job: self._uses.note(action.image, action.version))

    async def release_version(self, action: ReleaseVersion) -> None:
        what = f"version {names.golden(action.image, action.version)}"
        await self._act(self._cloners, what, lambda job: self._uses.release(action))

    async def fetch_source(self, action: ImportImage, told: Callable[[Fetched], None]) -> None:
        if action.origin != "url" or self._fetching is None:
            return
        try:
            await self._looks.run(object(), lambda job: self._sweep(), float("inf"))
            await self._looks.run(object(), lambda job: self._images.remember(action), float("inf"))
            await self._fetching().fetch(action, told)
        except OSError as error:
            raise _failure(error, f"download for {action.image}") from error

    async def discard_source(self, action: DiscardSource) -> None:
        kind, _, name = action.identity.partition(" ")
        if kind == "sha256" and self._fetching is not None:
            try:
                await self._fetching().discard(name)
            except OSError as error:
                raise _failure(error, f"download {name}") from error
        elif kind == "upload":
            await self._act(self._importers, f"upload {name}", lambda job: self._images.discard(name))

    async def create_overlay(self, action: CreateOverlay) -> str:
        return await self._disk(action.name, lambda job: self._overlays.create(action, job))

    async def activate_overlay(self, action: ActivateOverlay) -> None:
        await self._disk(action.name, lambda job: self._overlays.activate(action, job))

    async def commit_overlay(self, action: CommitOverlay, told: Callable[[float], None] = lambda part: None) -> str:
        def work(job: Job) -> str:
            base = self._uses.using(action.name.image, action.name.version)
            with base, self._overlays.opened(action, job) as disk:
                return self._images.commit(action, disk, job, told)

        return await self._act(self._importers, f"image {action.name.image}", work)  # no two make the same version

    async def delete_overlay(self, action: DeleteOverlay) -> None:
        await self._disk(action.name, lambda job: self._overlays.delete(action, job))

    async def _disk(self, name: OverlayName, work: Callable[[Job], T]) -> T:
        """A file may take as long as its disk needs to copy it; a snapshot is a few calls, each of which may hang."""
        return await self._act(self._cloners, f"overlay {name}", work, _DEADLINE if name.form == "cow" else float("inf"))

    async def _chosen(self) -> pool_driver.Choice:
        """Tried once in the life of a process, unless it cannot be tried. FileNotFoundError."""
        if self._driver is None:
            try:
                self._driver = await self._looks.run(
                    "driver", lambda job: pool_driver.choose(self._root, self._asked, job), _DEADLINE
                )
            except FileNotFoundError:
                raise
            except (Stuck, OSError) as problem:
                usual = pool_copy.COPY if self._asked == pool_driver.AUTO else self._asked
                return pool_driver.Choice(usual, f"cannot be tried: {problem}", usable=False)
        return self._driver

    async def _snapshots(self, machines: Collection[str] | None) -> Mapping[str, OverlayFile] | str:
        """Or why there is no telling."""
        try:
            return await self._looks.run("devices", lambda job: self._overlays.snapshots(machines, job), _LOOK)
        except Stuck as stuck:
            return f"the device-mapper does not answer: {stuck}"
        except OSError as error:
            return f"{error.filename}: {error.strerror}"

    async def _act(self, workers: Workers, what: str, work: Callable[[Job], T], deadline: float = float("inf")) -> T:
        def inside(job: Job) -> T:
            self._sweep()
            return work(job)

        try:
            return await workers.run(what, inside, deadline)
        except Stuck as stuck:
            raise EffectFailed("Busy", f"{shown(what)}: {stuck}") from stuck
        except SourceProblem as problem:
            raise EffectRefused(problem.reason, str(problem), problem.again) from problem
        except OSError as error:
            raise _failure(error, what) from error

    def _sweep(self) -> None:
        """What an earlier process left half-made, once, before this one makes anything: it cleans up after itself."""
        with self._sweeping:
            if not self._swept:
                self._uses.sweep()
                for folder in map(self._root.joinpath, (names.OVERLAY_FOLDER, download_part.FOLDER)):
                    for name in filter(is_temp, entries(folder)):
                        files.remove(folder / name)
                self._swept = True

    # --- looking --------------------------------------------------------------------------------------------

    def _observed(
        self,
        images: Collection[Golden],
        driver: pool_driver.Choice,
        overlays: Mapping[str, OverlayFile],
        unreadable: dict[str, str],
    ) -> PoolView:
        space = os.statvfs(self._root)
        total = space.f_blocks * space.f_frsize
        state = PoolState(
            self._images.versions(unreadable),
            overlays,
            {image.name: self._images.source(image) for image in images},
            _hundredths(space.f_bavail * space.f_frsize, total),
            total,
            driver.driver,
            brought=self._images.brought(),
        )
        return PoolView(state, unreadable)


def _hundredths(free: int, total: int) -> int:
    """``free`` in whole hundredths of ``total``, so many that they are read from it again: it moves all the time, and no
    plan turns on less."""
    return -(-(free * 100 // max(1, total) * total) // 100)


def _failure(error: OSError, what: str) -> EffectError:
    words = f"{shown(what)}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EffectFailed("PoolFull", f"{words}: delete sessions, or make the pool larger")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EffectRefused("NoPermission", f"{words} ({error.filename})")
    return EffectFailed("PoolError", f"{words} ({error.filename})" if error.filename else words)
