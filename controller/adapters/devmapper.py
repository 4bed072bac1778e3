"""The kernel's device-mapper by its own calls (linux/dm-ioctl.h): ``dmsetup`` costs a process for each.

Names that are not ours are listed and never touched; who calls knows which are. Each call may block for as long as the
kernel does. A device that somebody has open cannot be removed: the kernel itself answers EBUSY.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER = "/dev/mapper"
_CONTROL = f"{FOLDER}/control"
_LIST, _CREATE, _REMOVE, _SUSPEND, _LOAD, _LINE = 2, 3, 4, 6, 9, 12
# struct dm_ioctl: version, data_size, data_start, target_count, open_count, flags, event_nr, padding, dev, name, uuid.
_HEADER = struct.Struct("=3I II I i I I I Q 128s 129s 7x")
_SPEC = struct.Struct("=QQ i I 16s")  # struct dm_target_spec: start, length, status, next, type
_TABLE, _FULL = 1 << 4, 1 << 8
# What a PC wrote to its disk must not be looked at here: no partitions, labels or volume groups of its are anybody's
# business (libdevmapper.h: DM_UDEV_DISABLE_SUBSYSTEM_RULES, _DISK_RULES and _OTHER_RULES).
_UDEV = (0x02 | 0x04 | 0x08) << 16
_ROOM, _MOST = 1 << 14, 1 << 24


@dataclass(frozen=True, slots=True)
class Line:
    """What a device's one target says, word by word, its kind first; nothing of a device without a table in effect."""

    sectors: int = 0
    words: tuple[str, ...] = ()


def listing() -> Mapping[str, str]:
    """All devices of this kernel: name -> ``major:minor``."""
    _, data = _call(_LIST)
    found: dict[str, str] = {}
    at = 0
    while at + 12 <= len(data):
        device, following = struct.unpack_from("=QI", data, at)
        if device:
            found[_text(data[at + 12 :])] = _number(device)
        if not following:
            break
        at += following
    return found


def create(name: str) -> None:
    """Without a table yet."""
    _call(_CREATE, name)


def load(name: str, sectors: int, kind: str, table: str) -> None:
    words = table.encode() + b"\0"
    size = -(-(_SPEC.size + len(words)) // 8) * 8
    _call(_LOAD, name, targets=1, data=(_SPEC.pack(0, sectors, 0, size, kind.encode()) + words).ljust(size, b"\0"))


def resume(name: str) -> None:
    """The loaded table takes effect; the device gets its path, if nobody else has given it one."""
    header, _ = _call(_SUSPEND, name, event=_UDEV)
    device = os.makedev(*map(int, _number(header[10]).split(":")))
    with suppress(FileExistsError):
        Path(f"{FOLDER}/{name}").symlink_to(f"../dm-{os.minor(device)}")


def remove(name: str) -> None:
    """One that is not there is removed already. EBUSY while somebody has it open."""
    try:
        _call(_REMOVE, name, event=_UDEV)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
    with suppress(FileNotFoundError):
        Path(f"{FOLDER}/{name}").unlink()


def line(name: str, *, table: bool = False) -> Line:
    """How the device is; with ``table`` what it was made of. FileNotFoundError when it is not there."""
    try:
        header, data = _call(_LINE, name, flags=_TABLE if table else 0)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise FileNotFoundError(errno.ENOENT, "No such device", error.filename) from error
    if not header[5] or len(data) < _SPEC.size:
        return Line()
    sectors: int = _SPEC.unpack_from(data)[1]
    return Line(sectors, (_text(data[24:40]), *_text(data[_SPEC.size :]).split()))


def _call(
    command: int, name: str = "", *, flags: int = 0, event: int = 0, targets: int = 0, data: bytes = b""
) -> tuple[tuple[int, ...], bytes]:
    """The header that the kernel gives back, and what it wrote behind it. OSError."""
    room = _ROOM
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            size = _HEADER.size + max(room, len(data))
            sent = _HEADER.pack(4, 0, 0, size, _HEADER.size, targets, 0, flags, event, 0, 0, name.encode(), b"")
            buffer = bytearray((sent + data).ljust(size, b"\0"))
            fcntl.ioctl(control, 3 << 30 | _HEADER.size << 16 | 0xFD << 8 | command, buffer)
            header = _HEADER.unpack_from(buffer)
            if not header[7] & _FULL or room >= _MOST:
                return header, bytes(buffer[header[4] : header[3]])
            room *= 8
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{FOLDER}/{name}" if name else _CONTROL) from error
    finally:
        os.close(control)


def _number(device: int) -> str:
    """As the kernel packs a dev_t for its callers (new_encode_dev)."""
    return f"{(device >> 8) & 0xFFF}:{(device & 0xFF) | ((device >> 12) & 0xFFF00)}"


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("ascii", "backslashreplace")
