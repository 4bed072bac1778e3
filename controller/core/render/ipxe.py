"""What iPXE reads: the constant script, and one script a card."""

from controller.core.names import Site
from manifests.types import Iqn


def boot_script() -> str:
    return "#!ipxe\n# ggnet\nchain machines/${netX/mac:hexhyp}.ipxe || exit\n"


def machine_script(site: Site, machine: str, initiator: Iqn, portal: str, target: Iqn) -> str:
    address, _, port = portal.partition(":")
    head = f"#!ipxe\n# ggnet site={site.site} machine={machine}\nset initiator-iqn {initiator}\n"
    return f"{head}sanboot iscsi:{address}::{port}:0:{target} || exit\n"
