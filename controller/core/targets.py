"""What LIO must hold for one disk of one machine, and what must change to get there.

A target is compared as flat facts, name -> value, so that every half-made state the kernel can be left in is just
another set of facts: a missing backstore, a TPG that is not enabled, an ACL with no mapped LUN, a LUN too many.
"""

from collections.abc import Mapping

from controller.core.steps import Change
from controller.core.world import Target

_TPG = {
    "authentication": "0",
    "generate_node_acls": "0",
    "demo_mode_write_protect": "1",
    "demo_mode_discovery": "0",
    "cache_dynamic_acls": "0",
}
_ACL = {"nopin_timeout": "5", "nopin_response_timeout": "10"}
_DEVICE = {"emulate_3pc": "0", "emulate_write_cache": "1"}


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
        "backstore/buffered": "1",
        "backstore/serial": target.serial,
        "backstore/enable": "1",
        **{f"backstore/attrib/{name}": value for name, value in _DEVICE.items()},
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


def difference(wanted: Mapping[str, str], found: Mapping[str, str]) -> tuple[Change, ...]:
    """What differs, in the order of the wanted facts, then what is there too much, by name."""
    missing = [Change(name, found.get(name), value) for name, value in wanted.items() if found.get(name) != value]
    extra = [Change(name, found[name], None) for name in sorted(found.keys() - wanted.keys())]
    return (*missing, *extra)
