"""A touched path leads to the machine that it belongs to, or to a look at everything."""

from pathlib import PurePath

import pytest

from controller.core.desired import Client
from controller.core.names import Site
from controller.shell.hints import EVERYTHING, Places
from manifests.types import Iqn, Mac

SITE = Site("iqn.2026-01.internal.ggnet", "lab", "s1")
PLACES = Places(PurePath("/cfg"), PurePath("/srv/tftp"), PurePath("/etc/dhcp"), "ggnet.conf")
PC07 = Client("pc07", (Mac.parse("52:54:00:00:00:07"),), Iqn.parse("iqn.2026-01.internal.ggnet:lab:client:pc07"), None)


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/cfg/target/iscsi/iqn.2026-01.internal.ggnet:lab:pc07.os/tpgt_1/enable", {"Machine/pc07"}),
        ("/cfg/target/core/fileio_3/ggnet-pc07-os/enable", {"Machine/pc07"}),
        ("/cfg/target/iscsi/iqn.2003-01.org.linux-iscsi:foreign", set()),
        ("/srv/tftp/ggnet/machines/52-54-00-00-00-07.ipxe", {"Machine/pc07"}),
        ("/srv/tftp/ggnet/boot.ipxe", {EVERYTHING}),
        ("/srv/tftp/ggnet/machines/52-54-00-00-00-99.ipxe", {EVERYTHING}),
        ("/etc/dhcp/ggnet.conf", {EVERYTHING}),
        ("/etc/dhcp/dhcpd.conf", set()),
    ],
)
def test_a_path_names_what_to_look_at(path: str, keys: set[str]) -> None:
    assert PLACES.keys([path], SITE, [PC07]) == keys
