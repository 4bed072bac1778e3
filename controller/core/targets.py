"""What LIO must hold for the disks of one machine, and what must change to get there.

A target is compared as flat facts, name -> value, so that every half-made state the kernel can be left in is just
another set of facts: a missing backstore, a TPG that is not enabled, an ACL with no mapped LUN, a LUN too many.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from controller.core.desired import Chap, Lun, Target
from controller.core.names import DEVICE_FOLDER, SYSTEM_DISK, backstore, parse_backstore
from controller.core.steps import Change
from manifests.types import Iqn

_TPG = {
    "authentication": "0",
    "generate_node_acls": "0",
    "demo_mode_write_protect": "1",
    "demo_mode_discovery": "0",
    "cache_dynamic_acls": "0",
}
# iPXE cannot answer a ping: shorter, and a PC that waits at a boot menu would lose its session for a moment. Longer, and
# a PC without power would be taken for a live one longer than these two together.
_ACL = {"nopin_timeout": "15", "nopin_response_timeout": "10"}
_DEVICE = {"emulate_3pc": "0", "emulate_write_cache": "1"}
_DURABLE = {"emulate_3pc": "0", "emulate_write_cache": "0"}
# A block device says itself whether it has a write cache (a snapshot has), and of a snapshot nothing can be unmapped.
_BLOCK = {"emulate_3pc": "0", "emulate_tpu": "0"}


def block(path: str) -> bool:
    """Whether this is served by the backstore for block devices (iblock), not by the one for files (fileio)."""
    return path.startswith(f"{DEVICE_FOLDER}/")


def facts(target: Target) -> Mapping[str, str]:
    """The facts of a target that is just right.

    ``backstore/*`` the device of the system disk, ``disk/NAME/*`` that of another (kernel: target_core_file.c,
    target_core_iblock.c); ``tpg/*`` the portal group ``tpgt_1``; ``lun/N`` the backstore's name that LUN N is linked to;
    ``acl/INITIATOR`` present; ``acl/INITIATOR/lun/N`` the TPG LUN that it maps (``dangling`` when the link no longer leads
    to a live device) and ``.../write_protect``; ``acl/INITIATOR/auth`` the keyed digest of the secret that it has to
    know, while the portal group asks for one; ``portal/ADDR:PORT`` present. A fact of this shape that is not listed
    here must not be there.
    """
    acl, luns = f"acl/{target.initiator}", target.luns
    made = {
        **{name: value for lun in luns for name, value in _device(lun).items()},
        "tpg": "1",
        **{f"tpg/attrib/{name}": value for name, value in _TPG.items()},
        **({"tpg/attrib/authentication": "1", f"{acl}/auth": target.chap.digest} if target.chap else {}),
        **{f"lun/{number}": lun.backstore for number, lun in enumerate(luns)},
        acl: "1",
        **{f"{acl}/attrib/{name}": value for name, value in _ACL.items()},
    }
    for number, lun in enumerate(luns):
        made[f"{acl}/lun/{number}"] = str(number)
        made[f"{acl}/lun/{number}/write_protect"] = "1" if lun.readonly else "0"
    return made | {f"portal/{target.portal}": "1", "tpg/enable": "1"}


def place(backstore: str) -> str:
    """What the facts of this device begin with."""
    named = parse_backstore(backstore)
    return "backstore" if named is None or named[1] == SYSTEM_DISK else f"disk/{named[1]}"


def exported(found: Mapping[str, str]) -> tuple[str, ...]:
    """The last segments of the paths that its devices stand on."""
    names = [name for name in found if name[-5:] == "/path"]
    names.sort()
    return tuple(found[name].rpartition("/")[2] for name in names if name == "backstore/path" or _DISK_PATH(name))


_DISK_PATH = re.compile("disk/[a-z0-9]+/path", re.ASCII).fullmatch


def _device(lun: Lun) -> Mapping[str, str]:
    at = place(lun.backstore)
    return {
        at: lun.backstore,
        f"{at}/path": lun.path,
        **({} if block(lun.path) else _file(lun, at)),
        f"{at}/serial": lun.serial,
        f"{at}/enable": "1",
        **{f"{at}/attrib/{name}": value for name, value in _attributes(lun).items()},
    }


def _file(lun: Lun, at: str) -> Mapping[str, str]:
    """Of a file the kernel is told how large it is, and whether to write through; a block device says both itself."""
    return {f"{at}/size": str(lun.size), f"{at}/buffered": "0" if lun.durable else "1"}


def _attributes(lun: Lun) -> Mapping[str, str]:
    if block(lun.path):
        return _BLOCK
    return _DURABLE if lun.durable else _DEVICE


_ENABLED = {
    "backstore/enable": "1",
    "tpg": "1",
    **{f"tpg/attrib/{name}": value for name, value in _TPG.items()},
    "tpg/enable": "1",
}
_FIXED = {**_ENABLED, "backstore/buffered": "1", **{f"backstore/attrib/{name}": value for name, value in _DEVICE.items()}}
_FIXED_BLOCK = {**_ENABLED, **{f"backstore/attrib/{name}": value for name, value in _BLOCK.items()}}


def right(found: Mapping[str, str], machine: str, serial: str, path: str, size: int, initiator: str, portal: str) -> bool:
    """Whether ``found`` is just the facts of such a writable target that asks for no secret, told without writing them
    out: this is asked for every target in every sweep."""
    acl, name, get = f"acl/{initiator}", backstore(machine), found.get
    device = block(path)
    fixed = _FIXED_BLOCK if device else _FIXED
    return (
        get("backstore/path") == path
        and get("backstore") == name
        and get("lun/0") == name
        and (device or get("backstore/size") == str(size))
        and get("backstore/serial") == serial
        and get(acl) == "1"
        and get(f"{acl}/lun/0") == "0"
        and get(f"{acl}/lun/0/write_protect") == "0"
        and get(f"{acl}/attrib/nopin_timeout") == _ACL["nopin_timeout"]
        and get(f"{acl}/attrib/nopin_response_timeout") == _ACL["nopin_response_timeout"]
        and get(f"portal/{portal}") == "1"
        and fixed.items() <= found.items()
        and len(found) == len(fixed) + len(_ACL) + (8 if device else 9)
    )


def difference(wanted: Mapping[str, str], found: Mapping[str, str]) -> tuple[Change, ...]:
    """What differs, in the order of the wanted facts, then what is there too much, by name."""
    missing = [Change(name, found.get(name), value) for name, value in wanted.items() if found.get(name) != value]
    extra = [Change(name, found[name], None) for name in sorted(found.keys() - wanted.keys())]
    return (*missing, *extra)


# Repairing one of these under a live initiator is not felt: the kernel takes it in place, or what was there is dead already.
_IN_PLACE = ("tpg", "tpg/attrib/", "tpg/enable", "portal/")
_DEVICE_FACT = re.compile(r"(?:backstore|disk/[a-z0-9]+)(?:/(.+))?", re.ASCII)
# A value of these that is wrong (not absent) means another device: the LUN must be unlinked to change it.
_SHAPE = (None, "path", "size", "buffered", "serial")


def cutting(initiator: Iqn, changes: Iterable[Change], *, trusted: bool = True) -> tuple[Change, ...]:
    """Those changes whose repair takes the LUN away from a logged-in initiator, if only for a moment.

    ``trusted``: it logged in with the very secret that is wanted (or without one, if none is).

    ============================================  ==================================================
    fact                                          repairing it cuts
    ============================================  ==================================================
    a device, its path, size, buffered, serial    when there with another value, or too much; absent: nothing is served
    lun/0                                         when linked to another backstore; absent: no
    any other lun/N                               as lun/0; one too many is no disk of the client's, or its device goes too
    acl/OURS, its attributes                      no
    acl/OURS/lun/N                                when it maps another LUN; absent, dangling or too much: no
    acl/OURS/lun/N/write_protect                  when it takes writing away
    acl/OTHER                                     when ours is absent: the initiator was renamed, and is in by its old name
    acl/OURS/auth, tpg/attrib/authentication      unless ``trusted``: its session lives on, but cannot be renewed
    tpg, its attributes, enable; any portal       no: established connections live on
    anything else                                 yes: what is not known is not safe
    ============================================  ==================================================
    """
    all_of_them = tuple(changes)
    acl = f"acl/{initiator}"
    renamed = any(c.field == acl and c.before is None for c in all_of_them)
    return tuple(c for c in all_of_them if _cuts(c, acl, renamed=renamed) or (not trusted and asks(initiator, c)))


def asks(initiator: Iqn, change: Change) -> bool:
    """Whether this is about the secret that the initiator has to know."""
    acl = f"acl/{initiator}"
    return change.field in ("tpg/attrib/authentication", f"{acl}/auth", f"{acl}/attrib/authentication")


def _cuts(change: Change, acl: str, *, renamed: bool) -> bool:
    name, before, stays = change.field, change.before, change.after is not None
    if device := _DEVICE_FACT.fullmatch(name):
        return before is not None and device[1] in _SHAPE
    if name.startswith("lun/"):
        return before is not None and (stays or name == "lun/0")
    if name.startswith(f"{acl}/lun/"):
        return stays and before == "0" if name.endswith("/write_protect") else stays and before not in (None, "dangling")
    if name == acl or name.startswith(f"{acl}/"):
        return False
    if name.startswith("acl/"):
        return renamed
    return not any(name == part or (part.endswith("/") and name.startswith(part)) for part in _IN_PLACE)


def serves(found: Mapping[str, str], initiator: str, portal: str) -> bool:
    """Whether a client that follows a script with these names gets a disk: enabled, its LUN 0 linked and mapped to it."""
    acl, booted = f"acl/{initiator}", found.get("lun/0", "")
    return (
        found.get("tpg/enable") == "1"
        and found.get(f"{place(booted)}/enable") == "1"
        and found.get(place(booted)) == booted
        and found.get(acl) == "1"
        and found.get(f"{acl}/lun/0") == "0"
        and found.get(f"portal/{portal}") == "1"
    )


def standing(wanted: Target, found: Mapping[str, str]) -> Target | None:
    """The target as it is exported now, where it is ours to repair but not to change: the device, the initiator and the
    portal that a running PC hangs on stay as they are. None when too little stands to say."""
    clients = sorted(name.split("/")[1] for name in found if name.startswith("acl/") and name.count("/") == 1)
    portals = sorted(name.removeprefix("portal/") for name in found if name.startswith("portal/"))
    initiator = wanted.initiator if wanted.initiator in clients or len(clients) != 1 else Iqn.parse(clients[0])
    portal = wanted.portal if wanted.portal in portals or not portals else portals[0]
    luns = [_standing(number, name, wanted, found, initiator) for number, name in enumerate(_numbered(wanted, found))]
    if not luns or not all(luns):
        return None
    first, *more = filter(None, luns)
    secret = found.get(f"acl/{initiator}/auth")
    return replace(
        wanted,
        backstore=first.backstore,
        serial=first.serial,
        path=first.path,
        size=first.size,
        readonly=first.readonly,
        durable=first.durable,
        initiator=initiator,
        portal=portal,
        more=tuple(more),
        chap=Chap(wanted.chap.credential if wanted.chap else "", secret) if secret else None,
    )


def _numbered(wanted: Target, found: Mapping[str, str]) -> list[str]:
    """The backstores that are exported now, by LUN; of one whose link was taken away, the LUN that it should have."""
    links = sorted(((int(name[4:]), value) for name, value in found.items() if name.startswith("lun/")), reverse=True)
    at = {value: number for number, value in links if found.get(place(value)) == value}
    for number, lun in enumerate(wanted.luns):
        free = number not in at.values() and (number == 0 or lun.backstore not in at)
        if free and found.get(place(lun.backstore)) == lun.backstore:
            at[lun.backstore] = number
    names = sorted(at, key=lambda name: at[name])
    return names if [at[name] for name in names] == list(range(len(names))) else []


def _standing(number: int, name: str, wanted: Target, found: Mapping[str, str], initiator: Iqn) -> Lun | None:
    path, size, serial = (found.get(f"{place(name)}/{fact}") for fact in ("path", "size", "serial"))
    asked = {lun.backstore: lun for lun in wanted.luns}.get(name)
    if path is not None and block(path):
        size = str(asked.size) if asked else None
    if path is None or size is None or serial is None or not size.isdecimal():
        return None
    protected = found.get(f"acl/{initiator}/lun/{number}/write_protect", "0") == "1"
    durable = asked.durable if asked else found.get(f"{place(name)}/buffered") == "0"
    return Lun(name, serial, path, int(size), protected, durable)


def leads_somewhere(found: Mapping[str, str]) -> bool:
    """Whether some client gets a disk from it, whoever that is."""
    clients = [name.split("/")[1] for name in found if name.startswith("acl/") and name.count("/") == 1]
    portals = [name.removeprefix("portal/") for name in found if name.startswith("portal/")]
    return any(serves(found, client, portal) for client in clients for portal in portals)
