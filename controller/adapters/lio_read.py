"""What the kernel holds under our names, read by path: only ours, and never a walk of everything.

A part that is not there is a fact; a part that cannot be read is an OSError, for the caller to report.
"""

import errno
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from controller.adapters.configfs import ReadableFs
from controller.core import names
from controller.core.names import Site
from controller.core.world import Login, TargetState
from manifests.types import Iqn

# Creation slows with the number of siblings in one HBA folder, and rtslib hands out its own from 0 upwards: ours are
# a fixed few from 7000 on. rtslib reads several backstores in one HBA well (its index is by plugin and name).
_FIRST_HBA, _HBAS = 7000, 32
_TPG = ("authentication", "generate_node_acls", "demo_mode_write_protect", "demo_mode_discovery", "cache_dynamic_acls")
_ACL = ("nopin_timeout", "nopin_response_timeout")
_DEVICE = ("emulate_3pc", "emulate_write_cache")
_INFO = re.compile(r"File: (.*)  Size: (\d+)  Mode: (\S+)")
_NUMBERED = re.compile(r"(?:lun|tpgt)_(\d+)", re.ASCII)
_HBA = re.compile(r"core/fileio_\d+", re.ASCII)
_ADDRESS = re.compile(r"^\s*Address (\S+) TCP", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one target of ours lives."""

    iqn: Iqn
    backstore: str
    serial: str
    target: str
    tpg: str
    hba: str
    home: str

    @classmethod
    def of(cls, site: Site, iqn: str) -> "Place | None":
        """None for an IQN that is not of this site."""
        parts = site.parse_target(iqn)
        if parts is None:
            return None
        backstore, target = names.backstore(*parts), f"iscsi/{iqn}"
        hba = f"core/fileio_{_FIRST_HBA + zlib.crc32(backstore.encode()) % _HBAS}"
        serial = site.serial(*parts)
        return cls(site.target(*parts), backstore, serial, target, f"{target}/tpgt_1", hba, f"{hba}/{backstore}")


def numbers(fs: ReadableFs, folder: str) -> dict[int, str]:
    """The ``lun_N`` or ``tpgt_N`` folders of a folder, N -> path; empty when the folder is absent."""
    found = (_NUMBERED.fullmatch(name) for name in listing(fs, folder))
    return {int(match[1]): f"{folder}/{match[0]}" for match in found if match}


def listing(fs: ReadableFs, folder: str) -> tuple[str, ...]:
    try:
        return fs.listdir(folder)
    except FileNotFoundError:
        return ()


def link(fs: ReadableFs, folder: str, likely: str) -> tuple[str, str] | None:
    """The one symbolic link in a LUN's folder: its own path, and where it leads. ``likely`` is the name that we give."""
    try:
        return f"{folder}/{likely}", fs.readlink(f"{folder}/{likely}")
    except FileNotFoundError:
        pass
    for name in listing(fs, folder):
        if name.startswith("alua_") or name in ("statistics", "write_protect"):
            continue
        try:
            return f"{folder}/{name}", fs.readlink(f"{folder}/{name}")
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    return None


def serial(fs: ReadableFs, device: str) -> str:
    return fs.read(f"{device}/wwn/vpd_unit_serial").partition(": ")[2].strip()


def is_ours(fs: ReadableFs, place: Place, device: str) -> bool:
    """A device of our name with another serial is another site's. One without any is ours, half-made: the serial is
    the first thing that we write to a device.
    """
    try:
        return serial(fs, device) in ("", place.serial)
    except FileNotFoundError:
        return False


def devices(fs: ReadableFs, place: Place) -> Iterator[str]:
    """Our device, wherever somebody may have put it: where our target leads, at home, in any other HBA."""
    exported = (link(fs, folder, place.backstore) for folder in numbers(fs, f"{place.tpg}/lun").values())
    places = [led for _, led in filter(None, exported) if _HBA.match(led) and led.endswith(f"/{place.backstore}")]
    for device in dict.fromkeys((*places, place.home)):
        if is_ours(fs, place, device):
            yield device
    for hba in (f"core/{name}" for name in fs.listdir("core") if _HBA.fullmatch(f"core/{name}")):
        device = f"{hba}/{place.backstore}"
        if device not in (*places, place.home) and is_ours(fs, place, device):
            yield device


def find(fs: ReadableFs, place: Place) -> str | None:
    return next(devices(fs, place), None)


def login(fs: ReadableFs, acl: str) -> tuple[Login, str | None]:
    """Whether this ACL's initiator is logged in. What cannot be read, or is in between, is unknown, never off."""
    try:
        info = fs.read(f"{acl}/info")
    except FileNotFoundError:
        return Login.NONE, None
    except OSError:
        return Login.UNKNOWN, None
    if info.startswith("No active iSCSI Session"):
        return Login.NONE, None
    address = _ADDRESS.search(info)
    state = Login.ACTIVE if "TARG_SESS_STATE_LOGGED_IN" in info else Login.UNKNOWN
    return state, address[1] if address else None


def dynamic(fs: ReadableFs, tpg: str) -> tuple[str, ...] | None:
    """Initiators that are logged in without an ACL of their own; None when that cannot be told."""
    try:
        return tuple(fs.read(f"{tpg}/dynamic_sessions").replace("\0", "\n").split())
    except FileNotFoundError:
        return ()
    except OSError:
        return None


def sessions(fs: ReadableFs, place: Place) -> dict[str, tuple[Login, str | None]]:
    """Initiators that are, or may be, logged in to any portal group of our target."""
    found: dict[str, tuple[Login, str | None]] = {}
    for tpg in numbers(fs, place.target).values():
        for initiator in listing(fs, f"{tpg}/acls"):
            state = login(fs, f"{tpg}/acls/{initiator}")
            if state[0] is not Login.NONE:
                found[initiator] = state
        others = dynamic(fs, tpg)
        found |= {name: (Login.ACTIVE, None) for name in others or () if name not in found}
        if others is None:
            found["an initiator without an ACL"] = (Login.UNKNOWN, None)
    return found


def state(fs: ReadableFs, place: Place) -> tuple[TargetState | None, str | None]:
    """All facts of one target, None when nothing is there; and its device."""
    once = Once(fs)
    device = find(once, place)
    if device is None and not fs.exists(place.target):
        return None, None
    facts = {**_device(once, place, device), **_target(once, place, device)}
    live = sorted(sessions(once, place).values(), key=lambda found: (found[0] is not Login.ACTIVE, found[1] or ""))
    return TargetState(facts, *(live[0] if live else (Login.NONE, None))), device


class Once:
    """One look: nothing is asked twice, and all that is told of one target is of one moment, or nearly."""

    def __init__(self, fs: ReadableFs) -> None:
        self.exists = fs.exists
        self.read = cache(fs.read)
        self.readlink = cache(fs.readlink)
        self.listdir = cache(fs.listdir)


def _device(fs: ReadableFs, place: Place, device: str | None) -> dict[str, str]:
    if device is None:
        return {}
    facts = {"backstore": place.backstore, "backstore/enable": fs.read(f"{device}/enable")}
    info = _INFO.search(fs.read(f"{device}/info"))
    if info is None:
        raise OSError(errno.EPROTO, "info is in a form that is not known", f"{device}/info")
    if info[1].strip():
        facts |= {"backstore/path": info[1], "backstore/size": info[2]}
        facts["backstore/buffered"] = "1" if info[3].startswith("Buffered") else "0"
    found = serial(fs, device)
    if found:
        facts["backstore/serial"] = found
    return facts | {f"backstore/attrib/{name}": fs.read(f"{device}/attrib/{name}") for name in _DEVICE}


def _target(fs: ReadableFs, place: Place, device: str | None) -> dict[str, str]:
    groups = numbers(fs, place.target)
    facts = {f"tpgt_{number}": "1" for number in groups if number != 1}
    if 1 not in groups:
        return facts
    facts |= {"tpg": "1", "tpg/enable": fs.read(f"{place.tpg}/enable")}
    facts |= {f"tpg/attrib/{name}": fs.read(f"{place.tpg}/attrib/{name}") for name in _TPG}
    for number, folder in numbers(fs, f"{place.tpg}/lun").items():
        found = link(fs, folder, place.backstore)
        if found:
            facts[f"lun/{number}"] = _backstore(place, device, found[1])
    for initiator in fs.listdir(f"{place.tpg}/acls"):
        facts |= _acl(fs, place, initiator)
    return facts | {f"portal/{name}": "1" for name in fs.listdir(f"{place.tpg}/np")}


def _backstore(place: Place, device: str | None, led: str) -> str:
    """A backstore's name; with its HBA when it has our name and is another."""
    name = led.rpartition("/")[2]
    return led.removeprefix("core/") if name == place.backstore and led != device else name


def _acl(fs: ReadableFs, place: Place, initiator: str) -> Mapping[str, str]:
    folder, fact = f"{place.tpg}/acls/{initiator}", f"acl/{initiator}"
    facts = {fact: "1"} | {f"{fact}/attrib/{name}": fs.read(f"{folder}/attrib/{name}") for name in _ACL}
    for number, mapped in numbers(fs, folder).items():
        found = link(fs, mapped, place.backstore)
        if not found:
            continue
        # The kernel drops the mapping with the TPG's LUN and leaves the link: then write_protect reads as nothing
        # (target_core_fabric_configfs.c: no se_dev_entry), and stays so when the LUN is linked again.
        protect = fs.read(f"{mapped}/write_protect")
        facts[f"{fact}/lun/{number}"] = found[1].rpartition("/lun_")[2] if protect else "dangling"
        if protect:
            facts[f"{fact}/lun/{number}/write_protect"] = protect
    return facts
