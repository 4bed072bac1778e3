"""What LIO must hold for one disk of one machine, and what must change to get there.

A target is compared as flat facts, name -> value, so that every half-made state the kernel can be left in is just
another set of facts: a missing backstore, a TPG that is not enabled, an ACL with no mapped LUN, a LUN too many.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from controller.core.names import backstore
from controller.core.steps import Change
from controller.core.world import Target
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


def facts(target: Target) -> Mapping[str, str]:
    """The facts of a target that is just right.

    ``backstore/*`` the fileio device (kernel: target_core_file.c); ``tpg/*`` the portal group ``tpgt_1``;
    ``lun/N`` the backstore's name that LUN N is linked to; ``acl/INITIATOR`` present; ``acl/INITIATOR/lun/N`` the TPG
    LUN that it maps (``dangling`` when the link no longer leads to a live device) and ``.../write_protect``;
    ``portal/ADDR:PORT`` present. A fact of this shape that is not listed here must not be there.
    """
    acl = f"acl/{target.initiator}"
    return {
        "backstore": target.backstore,
        "backstore/path": target.path,
        "backstore/size": str(target.size),
        "backstore/buffered": "0" if target.durable else "1",
        "backstore/serial": target.serial,
        "backstore/enable": "1",
        **{f"backstore/attrib/{name}": value for name, value in (_DURABLE if target.durable else _DEVICE).items()},
        "tpg": "1",
        **{f"tpg/attrib/{name}": value for name, value in _TPG.items()},
        "lun/0": target.backstore,
        acl: "1",
        **{f"{acl}/attrib/{name}": value for name, value in _ACL.items()},
        f"{acl}/lun/0": "0",
        f"{acl}/lun/0/write_protect": "1" if target.readonly else "0",
        f"portal/{target.portal}": "1",
        "tpg/enable": "1",
    }


_FIXED = {
    "backstore/buffered": "1",
    "backstore/enable": "1",
    **{f"backstore/attrib/{name}": value for name, value in _DEVICE.items()},
    "tpg": "1",
    **{f"tpg/attrib/{name}": value for name, value in _TPG.items()},
    "tpg/enable": "1",
}


def right(found: Mapping[str, str], machine: str, serial: str, path: str, size: int, initiator: str, portal: str) -> bool:
    """Whether ``found`` is just the facts of such a writable target, told without writing them out: this is asked for
    every target in every sweep."""
    acl, name, get = f"acl/{initiator}", backstore(machine), found.get
    return (
        get("backstore/path") == path
        and get("backstore") == name
        and get("lun/0") == name
        and get("backstore/size") == str(size)
        and get("backstore/serial") == serial
        and get(acl) == "1"
        and get(f"{acl}/lun/0") == "0"
        and get(f"{acl}/lun/0/write_protect") == "0"
        and get(f"{acl}/attrib/nopin_timeout") == _ACL["nopin_timeout"]
        and get(f"{acl}/attrib/nopin_response_timeout") == _ACL["nopin_response_timeout"]
        and get(f"portal/{portal}") == "1"
        and _FIXED.items() <= found.items()
        and len(found) == len(_FIXED) + len(_ACL) + 9
    )


def difference(wanted: Mapping[str, str], found: Mapping[str, str]) -> tuple[Change, ...]:
    """What differs, in the order of the wanted facts, then what is there too much, by name."""
    missing = [Change(name, found.get(name), value) for name, value in wanted.items() if found.get(name) != value]
    extra = [Change(name, found[name], None) for name in sorted(found.keys() - wanted.keys())]
    return (*missing, *extra)


# Repairing one of these under a live initiator is not felt: the kernel takes it in place, or what was there is dead already.
_IN_PLACE = ("backstore/enable", "backstore/attrib/", "tpg", "tpg/attrib/", "tpg/enable", "portal/")
# A value of these that is wrong (not absent) means another device: the LUN must be unlinked to change it.
_DEVICE_SHAPE = ("backstore", "backstore/path", "backstore/size", "backstore/buffered", "backstore/serial")


def cutting(initiator: Iqn, changes: Iterable[Change]) -> tuple[Change, ...]:
    """Those changes whose repair takes the LUN away from a logged-in initiator, if only for a moment.

    ============================================  ==================================================
    fact                                          repairing it cuts
    ============================================  ==================================================
    backstore, its path, size, buffered, serial   when there with another value; absent: nothing is served
    lun/0                                         when linked to another backstore; absent: no
    any other lun/N                               no: it is not the client's disk
    acl/OURS, its attributes                      no
    acl/OURS/lun/0                                when it maps another LUN; absent or dangling: no
    acl/OURS/lun/0/write_protect                  when it takes writing away
    acl/OTHER                                     when ours is absent: the initiator was renamed, and is in by its old name
    tpg, its attributes, enable; any portal       no: established connections live on
    anything else                                 yes: what is not known is not safe
    ============================================  ==================================================
    """
    all_of_them = tuple(changes)
    acl = f"acl/{initiator}"
    renamed = any(c.field == acl and c.before is None for c in all_of_them)
    return tuple(c for c in all_of_them if _cuts(c, acl, renamed=renamed))


def _cuts(change: Change, acl: str, *, renamed: bool) -> bool:
    name, before = change.field, change.before
    if name in _DEVICE_SHAPE or name == "lun/0":
        return before is not None
    if name == f"{acl}/lun/0":
        return before not in (None, "dangling")
    if name == f"{acl}/lun/0/write_protect":
        return before == "0"
    if name.startswith("lun/") or name == acl or name.startswith(f"{acl}/"):
        return False
    if name.startswith("acl/"):
        return renamed
    return not any(name == place or (place.endswith("/") and name.startswith(place)) for place in _IN_PLACE)


def serves(found: Mapping[str, str], initiator: str, portal: str) -> bool:
    """Whether a client that follows a script with these names gets a disk: enabled, its LUN linked and mapped to it."""
    acl = f"acl/{initiator}"
    return (
        found.get("tpg/enable") == "1"
        and found.get("backstore/enable") == "1"
        and "backstore" in found
        and found.get("lun/0") == found["backstore"]
        and found.get(acl) == "1"
        and found.get(f"{acl}/lun/0") == "0"
        and found.get(f"portal/{portal}") == "1"
    )


def standing(wanted: Target, found: Mapping[str, str]) -> Target | None:
    """The target as it is exported now, where it is ours to repair but not to change: the device, the initiator and the
    portal that a running PC hangs on stay as they are. None when too little stands to say."""
    path, size, serial = (found.get(f"backstore/{name}") for name in ("path", "size", "serial"))
    if path is None or size is None or serial is None or not size.isdecimal():
        return None
    clients = sorted(name.split("/")[1] for name in found if name.startswith("acl/") and name.count("/") == 1)
    portals = sorted(name.removeprefix("portal/") for name in found if name.startswith("portal/"))
    initiator = wanted.initiator if wanted.initiator in clients or len(clients) != 1 else Iqn.parse(clients[0])
    portal = wanted.portal if wanted.portal in portals or not portals else portals[0]
    protected = found.get(f"acl/{initiator}/lun/0/write_protect", "0") == "1"
    return replace(wanted, path=path, size=int(size), serial=serial, initiator=initiator, portal=portal, readonly=protected)


def leads_somewhere(found: Mapping[str, str]) -> bool:
    """Whether some client gets a disk from it, whoever that is."""
    clients = [name.split("/")[1] for name in found if name.startswith("acl/") and name.count("/") == 1]
    portals = [name.removeprefix("portal/") for name in found if name.startswith("portal/")]
    return any(serves(found, client, portal) for client in clients for portal in portals)
