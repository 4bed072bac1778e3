"""A file of changes over a golden file, as one disk: dm-snapshot on two loop devices, all by the kernel.

The golden file's device is read-only and shared by all disks of that version; what a disk's PC writes goes to its store,
the file ``.cow``. The device's name is a function of the overlay's, so that what a crash has left is found again; and
both loop devices go with the device by themselves. A device of our name that stands on a file elsewhere is not ours.
"""

import errno
import os
import stat
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from controller.adapters import devmapper, durability, loops
from controller.adapters.workers import Job
from controller.core import names, space
from controller.core.names import OverlayName
from controller.ports.host import EffectFailed, EffectRefused

KIND = "snapshot"
SECTOR = 512
PROBE = "ggnet-probe-"
_GONE = " (deleted)"
_PATIENCE = 5.0  # a call that hangs while others wait for its end costs the sharing or the sweep, not their disks
_MAGIC = struct.Struct("<4sI")  # the store's first words: a mark, and whether what it holds is valid (dm-snap-persistent.c)
_MISSING = (errno.ENOENT, errno.ENODEV, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class Found:
    """A device of ours. ``store`` is the path of its file, ``gone`` whether that was deleted. ``size``, ``used`` and
    ``room`` (what the kernel takes its store to be) in bytes, the last two None when it takes no more."""

    store: str
    gone: bool
    size: int
    used: int | None
    room: int | None


def listing(job: Job) -> Mapping[str, str]:
    """All devices, not only ours: name -> ``major:minor``. OSError; without a device-mapper there are none."""
    job.check("listing the device-mapper's devices")
    try:
        return devmapper.listing()
    except FileNotFoundError:
        return {}


def look(name: str, job: Job) -> Found | None:
    """A device of ours; None for one that is half-made, or was removed meanwhile. OSError."""
    try:
        job.check(f"dm table {name}")
        made_of = devmapper.line(name, table=True)
        if len(made_of.words) < 3 or made_of.words[0] != KIND:
            return None
        store = loops.backing(made_of.words[2])
        job.check(f"dm status {name}")
        said = devmapper.line(name).words
    except FileNotFoundError:
        return None
    if store is None or len(said) < 2:
        return None
    counts = [int(word) for word in (*said[1].split("/"), *said[2:]) if word.isdecimal()]
    used, room = ((counts[0] - counts[2]) * SECTOR, counts[1] * SECTOR) if len(counts) == 3 else (None, None)
    return Found(store.removesuffix(_GONE), store.endswith(_GONE), made_of.sectors * SECTOR, used, room)


class Snapshots:
    """The devices of the overlays of the pool at ``root``. Every call may block for as long as the kernel does."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sharing, self._sweeping = threading.Lock(), threading.Lock()
        self._origins: dict[str, str] = {}
        self._swept = False

    def store(self, name: OverlayName) -> Path:
        return Path(names.overlay_file(str(self._root), name))

    def golden(self, name: OverlayName) -> Path:
        return Path(names.golden_path(str(self._root), name.image, name.version))

    def activate(self, name: OverlayName, limit: int, job: Job, *, durable: bool) -> None:
        """Its store is there; its device is too, after this. EffectError, OSError."""
        store = self.store(name)
        fd = os.open(store, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise EffectRefused("OverlayInTheWay", f"{store} is there, and is not a plain file: move it away")
            if os.fstat(fd).st_size < space.store_size(limit):
                os.ftruncate(fd, space.store_size(limit))
            durability.write_through(fd, durable=durable)
            found = look(name.device, job)
            if found and found.store == str(store) and not found.gone and found.room is not None:
                if found.room < os.fstat(fd).st_size:
                    self._grow(name, job)
                return
            self._sweep(job)
            self.remove(name, job)
            _mark_valid(fd)
            self._make(name, fd, job)
        finally:
            os.close(fd)

    def _make(self, name: OverlayName, store: int, job: Job) -> None:
        device = name.device
        try:
            with self._origin(name, job) as (origin, size):
                job.check(f"loop device for {name}")
                with loops.attached(store, f"ggnet {name.machine}.{name.disk}", readonly=False) as changes:
                    build(device, size, origin, changes, job)
        except OSError as error:
            raise unavailable(error) from error

    def _grow(self, name: OverlayName, job: Job) -> None:
        job.check(f"dm table {name.device}")
        words = devmapper.line(name.device, table=True).words
        job.check(f"loop device {words[2]}")
        loops.grown(words[2])

    @contextmanager
    def _origin(self, name: OverlayName, job: Job) -> Iterator[tuple[str, int]]:
        """The golden file's device and size. One that is being let go of while we look is not taken."""
        golden = self.golden(name)
        try:
            fd = os.open(golden, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise EffectRefused("ImageMissing", f"{name.image}@v{name.version} is not in the pool") from None
        with ExitStack() as held:
            held.callback(os.close, fd)
            alone = self._sharing.acquire(timeout=_PATIENCE)
            try:
                device = self._shared(str(golden), held, job)
                if device is None:
                    job.check(f"loop device for {golden}")
                    device = held.enter_context(loops.attached(fd, f"ggnet {golden.name}", readonly=True))
                self._origins[str(golden)] = device
            finally:
                if alone:
                    self._sharing.release()
            yield device, os.fstat(fd).st_size

    def _shared(self, golden: str, held: ExitStack, job: Job) -> str | None:
        """A device that others use for it already, kept open; one that has just been let go of is none. All devices are
        looked through once, for what an earlier process has left in use."""
        known = [self._origins[golden]] if golden in self._origins else loops.readonly(golden)
        for device in known:
            job.check(f"loop device {device}")
            try:
                held.enter_context(loops.opened(device))
            except OSError:
                continue
            if loops.backing(device) == golden and loops.is_readonly(device):
                return device
        return None

    def remove(self, name: OverlayName, job: Job) -> None:
        """The device, whole or half-made; a device-mapper that is not there has none. EffectError, OSError."""
        found = look(name.device, job)
        if found and Path(found.store).parent != self.store(name).parent:
            raise EffectRefused("Foreign", f"the device {name.device} stands on {found.store}: it is left alone")
        job.check(f"dm remove {name.device}")
        try:
            devmapper.remove(name.device)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise EffectFailed("InUse", f"{name} is open: a target stands on it, or somebody looks at it") from error

    def _sweep(self, job: Job) -> None:
        """Devices of our names without a table: an earlier process died while it made them. Once, before this one makes
        any. What is open is in use."""
        if self._swept or not self._sweeping.acquire(timeout=_PATIENCE):
            return
        try:
            for name in listing(job) if not self._swept else ():
                job.check(f"dm status {name}")
                half = names.is_device(name) and not devmapper.line(name).words
                if half or name.startswith(PROBE):
                    job.check(f"dm remove {name}")
                    with suppress(OSError):
                        devmapper.remove(name)
            self._swept = True
        finally:
            self._sweeping.release()


def build(device: str, size: int, origin: str, changes: str, job: Job) -> None:
    """A snapshot of ``origin`` that keeps what is written in ``changes``; nothing is left of it otherwise."""
    job.check(f"dm create {device}")
    devmapper.create(device)
    try:
        # PO: persistent, and one that runs full refuses writes, where a plain P would give up what it holds.
        table = f"{origin} {changes} PO {space.CHUNK // SECTOR}"
        job.check(f"dm load {device}")
        devmapper.load(device, size // SECTOR, KIND, table)
        job.check(f"dm resume {device}")
        devmapper.resume(device)
    except OSError:
        with suppress(OSError):
            devmapper.remove(device)
        raise


def unavailable(error: OSError) -> OSError | EffectRefused:
    """An error of the kernel's doors as what an operator can act on."""
    if error.errno in _MISSING and str(error.filename).startswith("/dev/"):
        return EffectRefused(
            "SnapshotsUnavailable", f"{error.filename}: {error.strerror}: modprobe -a loop dm_mod dm_snapshot"
        )
    return error


def _mark_valid(store: int) -> None:
    """A store that once could not be written says that it is invalid, though all that it was told to hold is in it: what
    could not be written was never acknowledged."""
    mark, valid = _MAGIC.unpack(os.pread(store, _MAGIC.size, 0).ljust(_MAGIC.size, b"\0"))
    if mark == b"SnAp" and not valid:
        os.pwrite(store, _MAGIC.pack(mark, 1), 0)
        os.fsync(store)
