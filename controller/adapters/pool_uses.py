"""The uses of an image's versions: on which day the last one was, who is at it now, and the end of one that has none.

The day of the last use is the time stamp of the version's sidecar, moved once a day at most. A version is taken away in
an order that can be cut anywhere: its file gets a temporary name first, so that it is whole or none at all.
"""

import fcntl
import os
import secrets
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from controller.adapters import files
from controller.adapters.pool_room import Room, entries, is_temp
from controller.adapters.pool_sidecar import DAY, Unreadable, read, sidecar, vouch
from controller.core import names
from controller.core.names import OverlayName
from controller.core.steps import DeleteVersion, ReleaseVersion
from controller.ports.clock import Clock
from controller.ports.host import EffectFailed, EffectRefused

_BLOCK = 512
_SETSIG = 10  # linux/fcntl.h: F_SETSIG
Version = tuple[str, int]


class Uses:
    """Of the versions in the pool at ``room.root``."""

    def __init__(self, room: Room, clock: Clock) -> None:
        self._clock = clock
        self._images, self._overlays = room.root / names.GOLDEN_FOLDER, room.root / names.OVERLAY_FOLDER
        self._alone = threading.Lock()
        self._busy: Counter[Version] = Counter()

    @contextmanager
    def using(self, image: str, version: int) -> Iterator[None]:
        """While a private disk is made of it, nobody takes it away. OSError."""
        with self._alone:
            self._busy[image, version] += 1
        try:
            self.note(image, version)
            yield
        finally:
            with self._alone:
                self._busy[image, version] -= 1

    def note(self, image: str, version: int) -> None:
        """It is used today. One that is not there is not. EffectRefused, OSError."""
        name = named(image, version)
        try:
            fd = os.open(self._images / sidecar(name), _READ)
        except FileNotFoundError:
            return
        try:
            now = int(self._clock.now().timestamp()) * 10**9
            if os.fstat(fd).st_mtime_ns // DAY != now // DAY:
                os.utime(fd, ns=(now, now))
                os.fsync(fd)
        finally:
            os.close(fd)

    def delete(self, action: DeleteVersion) -> int:
        """How many bytes it took. EffectError, OSError."""
        name = named(action.image, action.version)
        golden = self._images / name
        with self._alone:
            self._keep_standing((action.image, action.version))
            try:
                taken = unopened(golden)
            except FileNotFoundError:
                files.remove(self._images / sidecar(name))
                return 0
            going = golden.with_name(f".{name}.{secrets.token_hex(6)}.tmp")
            files.rename_durably(golden, going)
            files.remove(self._images / sidecar(name))
        files.remove(going)
        return taken

    def release(self, action: ReleaseVersion) -> None:
        """It counts as a use of today. EffectRefused, OSError."""
        name = named(action.image, action.version)
        with self._alone:
            if not os.path.lexists(self._images / name):
                return
            try:
                file = read(self._images, action.image, action.version)
            except Unreadable as problem:
                raise EffectRefused("VersionUnreadable", str(problem)) from problem
            vouch(self._images, replace(file, released=action.until), action.image, file.stamp, file.identity)

    def sweep(self) -> None:
        """What an earlier process was making or taking away when it died. A sidecar whose file has a temporary name only is
        of such a version; one that is alone may be of a file that somebody will put back. OSError."""
        for temp in filter(is_temp, entries(self._images)):
            golden = temp[1:].rsplit(".", 2)[0]
            if names.parse_golden(golden) and not os.path.lexists(self._images / golden):
                files.remove(self._images / sidecar(golden))
            files.remove(self._images / temp)

    def _keep_standing(self, version: Version) -> None:
        """EffectFailed."""
        label = f"{version[0]}@v{version[1]}"
        if self._busy[version]:
            raise EffectFailed("InUse", f"{label}: a private disk is being made of it")
        for text in entries(self._overlays):
            overlay = OverlayName.parse(text)
            if overlay and (overlay.image, overlay.version) == version:
                raise EffectFailed("InUse", f"{label}: {text} stands on it")


_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def named(image: str, version: int) -> str:
    """EffectRefused."""
    name = names.golden(image, version)
    if names.parse_golden(name) != (image, version):
        raise EffectRefused("Invalid", f"{name!a} is not the name of an image's version")
    return name


def unopened(golden: Path) -> int:
    """The bytes that a file takes that nobody has open, also not a loop device or a target of the kernel: the kernel gives
    a write lease (fcntl(2)) on no other. EffectFailed, OSError."""
    fd = os.open(golden, _READ)
    try:
        fcntl.fcntl(fd, _SETSIG, signal.SIGURG)  # who opens it in this moment waits, and the usual signal would end us
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        return os.fstat(fd).st_blocks * _BLOCK
    except BlockingIOError as error:
        raise EffectFailed("InUse", f"{golden.name} is open: a target stands on it, or somebody reads it") from error
    finally:
        os.close(fd)
