"""The boot script that leads to a target, and its digest, which is all that a sweep needs of it."""

import hashlib
from functools import lru_cache

from controller.core.desired import Target
from controller.core.names import Site
from controller.core.render import ipxe
from manifests.types import Iqn


def text(site: Site, target: Target) -> str:
    luns, chap = len(target.luns), target.chap is not None
    return ipxe.machine_script(site, target.machine, target.initiator, target.portal, target.iqn, luns, chap=chap)


@lru_cache(1 << 17)
def digest(site: Site, machine: str, initiator: Iqn, portal: str, iqn: Iqn) -> str:
    """sha256 of the script, remembered: it is asked for every machine in every sweep."""
    return sha256(ipxe.machine_script(site, machine, initiator, portal, iqn))


def sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
