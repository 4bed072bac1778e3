"""The sessions' private disks: whole files (a clone of the golden one, or a copy), and snapshots (a store and a device).

``overlays/NAME`` is complete from the moment that it has its name. What kind one is its name says, so a pool may hold
both, whatever new ones are made by.
"""

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from controller.adapters import durability, files, pool_copy, pool_devices, ticks
from controller.adapters.pool_devices import Found, Snapshots
from controller.adapters.pool_names import Names
from controller.adapters.pool_room import Room, finish, temp
from controller.adapters.pool_uses import Uses
from controller.adapters.workers import Job
from controller.core import names, space
from controller.core.names import OverlayName
from controller.core.observed import OverlayFile, OverlayState
from controller.core.steps import ActivateOverlay, CommitOverlay, CreateOverlay, DeleteOverlay
from controller.ports.host import EffectError, EffectRefused

_BLOCK = 512  # in which stat(2) tells what a file takes, whatever the file system's own are


class Overlays:
    """Of the pool at ``room.root``. ``driver`` is what whole files are made by: auto, reflink or copy."""

    def __init__(self, room: Room, driver: str, uses: Uses) -> None:
        self._room, self._uses = room, uses
        self._driver = driver
        root = Path(os.path.realpath(room.root))  # as the kernel tells it of the files behind its devices
        self._folder = root / names.OVERLAY_FOLDER
        self._images = root / names.GOLDEN_FOLDER
        self._snapshots = Snapshots(root)
        self.names = Names(self._folder)
        self._seen: dict[str, tuple[tuple[int, ...], OverlayFile]] = {}
        self._known: dict[str, tuple[tuple[object, ...] | None, OverlayFile]] = {}

    # --- looking --------------------------------------------------------------------------------------------

    def look(
        self,
        machines: Collection[str] | None,
        snapshots: Mapping[str, OverlayFile] | str,
        unreadable: dict[str, str],
    ) -> dict[str, OverlayFile]:
        """Those of these machines, or all. ``snapshots`` were looked at already, or cannot be."""
        found: dict[str, OverlayFile] = {} if isinstance(snapshots, str) else dict(snapshots)
        seen: dict[str, tuple[tuple[int, ...], OverlayFile]] = {}
        for text, path, there in self._files(machines, "", unreadable):
            if text[-4:] == ".raw":
                seen[text] = self._whole_file(text, path, there)
                found[text] = seen[text][1]
            elif isinstance(snapshots, str):
                unreadable[text] = snapshots
        self._seen = seen if machines is None else {**self._seen, **seen}
        return found

    def _files(
        self, machines: Collection[str] | None, form: str, unreadable: dict[str, str]
    ) -> Iterator[tuple[str, str, os.stat_result]]:
        """Those whose names end so."""
        self.names.refresh()
        for text in self.names.of(machines):
            if not text.endswith(form):
                continue
            path = f"{self._folder}/{text}"
            try:
                there = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - thousands in a sweep
            except FileNotFoundError:
                continue
            if stat.S_ISREG(there.st_mode):
                yield text, path, there
            else:
                unreadable[text] = f"{path} is not a plain file"

    def _whole_file(self, text: str, path: str, there: os.stat_result) -> tuple[tuple[int, ...], OverlayFile]:
        """What is as it was (ctime moves with size, name and attributes) is told by the very object of the last look."""
        stamp = (there.st_ino, there.st_size, there.st_ctime_ns, there.st_blocks)
        known = self._seen.get(text)
        if known is not None and known[0] == stamp:
            return known
        used = space.whole(there.st_blocks * _BLOCK, there.st_size)
        file = OverlayFile(there.st_size, pool_copy.method(path), used)
        return stamp, known[1] if known is not None and known[1] == file else file

    def snapshots(self, machines: Collection[str] | None, job: Job) -> Mapping[str, OverlayFile]:
        """Those of our snapshots, with devices whose file is gone. OSError.

        The kernel is asked about a device only where that may have something new to say: its file was written to since
        the last look, or it had not much room left.
        """
        tick = ticks.now()
        devices = _ours(pool_devices.listing(job), machines)
        found: dict[str, tuple[tuple[object, ...] | None, OverlayFile]] = {}
        for text, path, there in self._files(machines, ".cow", {}):
            name = OverlayName.parse(text)
            if name is None:
                continue
            number = devices.pop(name.device, None)
            proof = ticks.stamp(there, tick)
            stamp = (number, *proof) if proof else None
            known = self._known.get(text)
            if known is not None and stamp is not None and known[0] == stamp and _at_ease(known[1]):
                found[text] = known
            else:
                file = self._snapshot(name, path, there, pool_devices.look(name.device, job) if number else None)
                found[text] = (stamp, known[1] if known and known[1] == file else file)
        self._known = found if machines is None else {**self._known, **found}
        return {text: file for text, (_, file) in found.items()} | self._lost(devices, job)

    def _snapshot(self, name: OverlayName, path: str, there: os.stat_result, device: Found | None) -> OverlayFile:
        limit = space.store_limit(there.st_size)
        taken = min(there.st_blocks * _BLOCK, limit)
        size, state = 0, OverlayState.INACTIVE
        if device and device.store == path and not device.gone:
            size, state = device.size, OverlayState.FULL if device.room is None else OverlayState.READY
            taken = device.used if device.used is not None else taken
            limit = space.store_limit(device.room or there.st_size)
        else:
            try:
                size = (self._images / names.golden(name.image, name.version)).stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                state = OverlayState.STRANDED
        return OverlayFile(size, pool_devices.KIND, space.whole(taken, limit), limit, state, _durable(path))

    def _lost(self, devices: Iterable[str], job: Job) -> dict[str, OverlayFile]:
        """Devices whose file somebody removed: the kernel keeps the deleted one until they are gone."""
        lost: dict[str, OverlayFile] = {}
        for name in devices:
            device = pool_devices.look(name, job)
            path = Path(device.store) if device else None
            overlay = OverlayName.parse(path.name) if path else None
            if device and path and path.parent == self._folder and overlay and overlay.device == name:
                lost[path.name] = OverlayFile(device.size, pool_devices.KIND, state=OverlayState.LOST)
        return lost

    # --- making ---------------------------------------------------------------------------------------------

    def create(self, action: CreateOverlay, job: Job) -> str:
        """How it was made. EffectError, OSError."""
        final = self.path(action.name)
        with self._uses.using(action.name.image, action.name.version):
            return self._make(final, action, job)

    def _make(self, final: Path, action: CreateOverlay, job: Job) -> str:
        name = action.name
        if final.is_symlink() or final.exists():
            return self._created(final, action, job)
        golden = self._images / names.golden(name.image, name.version)
        if not (os.path.lexists(golden) and os.path.lexists(golden.with_suffix(".json"))):
            raise EffectRefused("ImageMissing", f"{name.image}@v{name.version} is not in the pool")
        source = os.open(golden, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(source).st_size
            exact = name.form == "cow"  # a snapshot is as large as what it is one of
            if action.size < size or action.size % pool_devices.SECTOR or (exact and action.size != size):
                raise EffectRefused("OverlaySize", f"{final.name}: {action.size} bytes cannot hold the {size} of its image")
            self._folder.mkdir(mode=0o750, exist_ok=True)
            return self._store(final, action, job) if exact else self._clone(source, final, action, job)
        finally:
            os.close(source)

    def _clone(self, source: int, final: Path, action: CreateOverlay, job: Job) -> str:
        with temp(final) as (path, made):
            method = self._room.filled(source, made, job, self._driver)
            os.ftruncate(made, action.size)
            finish(path, made, final, 0o600, method)
        return method

    def _store(self, final: Path, action: CreateOverlay, job: Job) -> str:
        """An empty store, which takes no space until it is written to; then the device."""
        self._room.keep_reserve(0)
        limit = action.limit or action.size
        with temp(final) as (path, made):
            os.ftruncate(made, space.store_size(limit))
            durability.write_through(made, durable=action.durable)
            files.rename_durably(path, final)  # nothing is in it yet that could be lost, and it grows when it is too small
        try:
            self._snapshots.activate(action.name, limit, job, durable=action.durable)
        except (EffectError, OSError):
            files.remove(final)  # nothing is in it, and a host that cannot have its device would keep it for nothing
            raise
        return pool_devices.KIND

    def _created(self, final: Path, action: CreateOverlay, job: Job) -> str:
        found = final.lstat()
        cow = action.name.form == "cow"
        golden = self._images / names.golden(action.name.image, action.name.version)
        size = golden.stat().st_size if cow and golden.is_file() else found.st_size
        if not stat.S_ISREG(found.st_mode) or size != action.size:
            raise EffectRefused(
                "OverlayInTheWay", f"{final} is there, and is not a plain file of {action.size} bytes: move it away"
            )
        if not cow:
            return pool_copy.method(str(final))
        self._snapshots.activate(action.name, action.limit or action.size, job, durable=action.durable)
        return pool_devices.KIND

    def activate(self, action: ActivateOverlay, job: Job) -> None:
        store = self.path(action.name)
        if action.name.form != "cow":
            raise EffectRefused("Invalid", f"{store.name} is a whole file: there is nothing to activate")
        try:
            self._snapshots.activate(action.name, action.limit, job, durable=action.durable)
        except FileNotFoundError as error:
            raise EffectRefused("OverlayMissing", f"{error.filename} is not there") from error

    @contextmanager
    def opened(self, action: CommitOverlay, job: Job) -> Iterator[int]:
        """What its PC saw last, to be read. EffectError, OSError."""
        path = self.path(action.name)
        if not os.path.lexists(path):
            raise EffectRefused("OverlayMissing", f"{path} is not there")
        if action.name.form == "cow":
            limit = action.limit or space.store_limit(path.lstat().st_size)
            self._snapshots.activate(action.name, limit, job, durable=action.durable)
            path = Path(names.DEVICE_FOLDER, action.name.device)
            # Exclusively: a target that stands on it has it open so too.
            fd = os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
        else:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    def delete(self, action: DeleteOverlay, job: Job) -> None:
        """The device first: a device without its file could not be told from one in use. And before the disk goes, the use
        that it was: without either, its version might look unused for long."""
        path = self.path(action.name)
        with suppress(OSError):  # a pool that is too full for a note needs the room all the more
            self._uses.note(action.name.image, action.name.version)
        if action.name.form == "cow":
            self._snapshots.remove(action.name, job)
        files.remove(path)

    def path(self, name: OverlayName) -> Path:
        if OverlayName.parse(str(name)) != name:
            raise EffectRefused("Invalid", f"{str(name)!a} is not an overlay's name")
        return self._folder / str(name)


def _ours(devices: Mapping[str, str], machines: Collection[str] | None) -> dict[str, str]:
    """Those of overlays of these machines, or of all."""
    if machines is None:
        return {name: number for name, number in devices.items() if names.is_device(name)}
    return {name: number for name, number in devices.items() if names.device_machine(name) in machines}


def _at_ease(file: OverlayFile) -> bool:
    """Whether it can be no other without its file having been written to: the last chunk is refused without a word."""
    return file.state is OverlayState.READY and not space.nearly(file.used, file.limit or 1)


def _durable(path: str) -> bool | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return durability.written_through(fd)
    finally:
        os.close(fd)
