"""What the kernel holds under our names, read by path: only ours, and never a walk of everything.

A part that is not there is a fact; a part that cannot be read is an OSError, for the caller to report.
"""

import errno
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from sys import intern

from controller.adapters import lio_auth
from controller.adapters.configfs import ReadableFs
from controller.adapters.lio_auth import Digest
from controller.core import names, targets
from controller.core.names import Site
from controller.core.observed import Login, TargetState
from manifests.types import Iqn

# Creation slows with the number of siblings in one HBA folder, and rtslib hands out its own from 0 upwards: ours are
# a fixed few from 7000 on. rtslib reads several backstores in one HBA well (its index is by plugin and name). All disks
# of a machine but its system disk share one of as many more, so that one look at that finds them by their names.
_FIRST_HBA, _HBAS = 7000, 32
_TPG = ("authentication", "generate_node_acls", "demo_mode_write_protect", "demo_mode_discovery", "cache_dynamic_acls")
_ACL = ("nopin_timeout", "nopin_response_timeout")
_FILE, _BLOCK = ("emulate_3pc", "emulate_write_cache"), ("emulate_3pc", "emulate_tpu")
_INFO = re.compile(r"File: (.*)  Size: (\d+)  Mode: (\S+)")
_BLOCK_INFO = re.compile(r"(?:  UDEV PATH: (.*))?  readonly: \d")
_NUMBERED = re.compile(r"(?:lun|tpgt)_(\d+)", re.ASCII)
_HBA = re.compile(r"core/(?:fileio|iblock)_\d+", re.ASCII)
_ADDRESS = re.compile(r"^\s*Address (\S+) TCP", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one target of ours lives, and one of its devices: in one of two places, ``home`` for a file, ``block`` for a
    block device."""

    iqn: Iqn
    machine: str
    disk: str
    backstore: str
    serial: str
    target: str
    tpg: str
    home: str
    block: str

    @classmethod
    def of(cls, site: Site, iqn: str) -> "Place | None":
        """With the disk that the target is named after. None for an IQN that is not of this site."""
        parts = site.parse_target(iqn)
        if parts is None:
            return None
        return cls._made(site, site.target(*parts), *parts)

    @classmethod
    def _made(cls, site: Site, iqn: Iqn, machine: str, disk: str) -> "Place":
        backstore, target = names.backstore(machine, disk), f"iscsi/{iqn}"
        homes = (f"{hba}/{backstore}" for hba in hbas(machine, disk))
        serial = site.serial(machine, disk)
        return cls(iqn, machine, disk, backstore, serial, target, f"{target}/tpgt_1", *homes)

    def of_disk(self, site: Site, disk: str) -> "Place":
        """The same target, with another of its devices."""
        return self._made(site, self.iqn, self.machine, disk)

    def of_device(self, path: str) -> str:
        """Where the device for this path belongs."""
        return self.block if targets.block(path) else self.home


def hbas(machine: str, disk: str) -> tuple[str, str]:
    """Where the device of this disk belongs, as a file and as a block device."""
    return _hbas(names.backstore(machine, disk), _FIRST_HBA) if disk == names.SYSTEM_DISK else shared_hbas(machine)


def shared_hbas(machine: str) -> tuple[str, str]:
    """Where the devices of a machine's disks but its system disk belong."""
    return _hbas(machine, _FIRST_HBA + _HBAS)


def _hbas(key: str, first: int) -> tuple[str, str]:
    number = first + zlib.crc32(key.encode()) % _HBAS
    return f"core/fileio_{number}", f"core/iblock_{number}"


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
    for device in dict.fromkeys((*places, place.home, place.block)):
        if is_ours(fs, place, device):
            yield device
    for hba in (f"core/{name}" for name in fs.listdir("core") if _HBA.fullmatch(f"core/{name}")):
        device = f"{hba}/{place.backstore}"
        if device not in (*places, place.home, place.block) and is_ours(fs, place, device):
            yield device


def find(fs: ReadableFs, place: Place) -> str | None:
    return next(devices(fs, place), None)


def places(fs: ReadableFs, site: Site, place: Place) -> Iterator[Place]:
    """Of the disk that the target is named after, and of each other disk of its machine that has a device here: one that
    a LUN leads to, or one in the HBAs where they belong."""
    yield place
    if place.disk != names.SYSTEM_DISK:
        return
    linked = (link(fs, folder, place.backstore) for folder in numbers(fs, f"{place.tpg}/lun").values())
    near = (listing(fs, hba) for hba in shared_hbas(place.machine))
    found = {led.rpartition("/")[2] for _, led in filter(None, linked)} | {name for folder in near for name in folder}
    mine = names.backstore(place.machine, "")  # hundreds of machines share these HBAs
    for name in sorted(name for name in found if name.startswith(mine)):
        parts = names.parse_backstore(name)
        if parts and parts[0] == place.machine and parts[1] != place.disk:
            yield place.of_disk(site, parts[1])


def exported(fs: ReadableFs, device: str) -> bool:
    """Whether any target has a LUN that leads to this device."""
    return bool(fs.read(f"{device}/alua/default_tg_pt_gp/members").strip())


def login(fs: ReadableFs, acl: str) -> tuple[Login, str | None]:
    """Whether this ACL's initiator is logged in. What cannot be read, or is in between, is unknown, never off."""
    try:
        info = fs.read(f"{acl}/info")
    except FileNotFoundError:
        return Login.NONE, None
    except OSError:
        return Login.UNKNOWN, None
    return logged_in(info)


def logged_in(info: str) -> tuple[Login, str | None]:
    """As an ACL's ``info`` tells."""
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


def state(fs: ReadableFs, site: Site, place: Place, digest: Digest) -> tuple[TargetState | None, dict[str, str]]:
    """All facts of one target, None when nothing is there; and its devices, by backstore. Much is asked of ``fs`` more than
    once."""
    found = [(each, device) for each in places(fs, site, place) if (device := find(fs, each))]
    devices = {each.backstore: device for each, device in found}
    if not devices and not fs.exists(place.target):
        return None, {}
    facts = {name: value for each, device in found for name, value in _device(fs, each, device).items()}
    facts |= _target(fs, place, devices, digest)
    live = sorted(sessions(fs, place).values(), key=lambda found: (found[0] is not Login.ACTIVE, found[1] or ""))
    facts = {name if name.startswith("acl/") else intern(name): value for name, value in facts.items()}  # for thousands
    return TargetState(facts, *(live[0] if live else (Login.NONE, None))), devices


def _device(fs: ReadableFs, place: Place, device: str) -> dict[str, str]:
    at, block = targets.place(place.backstore), is_block(device)
    facts = {at: place.backstore, f"{at}/enable": fs.read(f"{device}/enable")}
    info = (_BLOCK_INFO if block else _INFO).search(fs.read(f"{device}/info"))
    if info is None:
        raise OSError(errno.EPROTO, "info is in a form that is not known", f"{device}/info")
    if info[1] and info[1].strip():
        facts[f"{at}/path"] = info[1]
        if not block:
            facts |= {f"{at}/size": info[2], f"{at}/buffered": "1" if info[3].startswith("Buffered") else "0"}
    found = serial(fs, device)
    if found:
        facts[f"{at}/serial"] = found
    return facts | {f"{at}/attrib/{name}": fs.read(f"{device}/attrib/{name}") for name in (_BLOCK if block else _FILE)}


def is_block(device: str) -> bool:
    return device.startswith("core/iblock_")


def _target(fs: ReadableFs, place: Place, devices: Mapping[str, str], digest: Digest) -> dict[str, str]:
    groups = numbers(fs, place.target)
    facts = {f"tpgt_{number}": "1" for number in groups if number != 1}
    if 1 not in groups:
        return facts
    facts |= {"tpg": "1", "tpg/enable": fs.read(f"{place.tpg}/enable")}
    facts |= {f"tpg/attrib/{name}": fs.read(f"{place.tpg}/attrib/{name}") for name in _TPG}
    for number, folder in numbers(fs, f"{place.tpg}/lun").items():
        found = link(fs, folder, place.backstore)
        if found:
            facts[f"lun/{number}"] = _backstore(devices, found[1])
    for initiator in fs.listdir(f"{place.tpg}/acls"):
        facts |= _acl(fs, place, initiator)
        if facts["tpg/attrib/authentication"] != "0":
            facts |= lio_auth.facts(fs, place.tpg, initiator, digest)
    return facts | {f"portal/{name}": "1" for name in fs.listdir(f"{place.tpg}/np")}


def _backstore(devices: Mapping[str, str], led: str) -> str:
    """A backstore's name; with its HBA when it has a name of ours and is another."""
    name = led.rpartition("/")[2]
    return led.removeprefix("core/") if led != devices.get(name, led) else name


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
