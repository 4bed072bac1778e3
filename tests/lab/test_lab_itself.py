"""The lab is able to fail and to succeed: a server prepared by hand boots every kind of PC, and a bare one boots none."""

import subprocess
from pathlib import Path

import pytest

from tests.lab.host import Prepared
from tests.lab.lab import Lab
from tests.lab.pc import Firmware

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]
MACS = {
    Firmware.BIOS: "52:54:00:00:00:07",
    Firmware.UEFI: "52:54:00:00:00:08",
    Firmware.UEFI_PXE: "52:54:00:00:00:09",
}
PREFIX = "iqn.2026-01.internal.ggnet:lab"
DHCP = """
option arch code 93 = unsigned integer 16;
subnet 10.77.0.0 netmask 255.255.255.0 {
  range 10.77.0.100 10.77.0.199;
  next-server 10.77.0.1;
  if exists user-class and option user-class = "iPXE" { filename "boot.ipxe"; }
  elsif option arch = 00:07 or option arch = 00:09 { filename "ipxe.efi"; }
}
"""
SCRIPT = """#!ipxe
set initiator-iqn {prefix}:client:{hyphens}
sanboot iscsi:10.77.0.1::3260:0:{prefix}:{hyphens}.os || exit 1
"""


@pytest.fixture(scope="module")
def served(bare: Lab) -> Lab:
    """One target and one script a PC, made with an administrator's tools."""
    template = bare.image("hand.raw")
    script = ["set global auto_add_default_portal=false", "set global auto_add_mapped_luns=true"]
    files = {"boot.ipxe": "#!ipxe\nchain ${netX/mac:hexhyp}.ipxe || exit 1\n"}
    for mac in MACS.values():
        hyphens = mac.replace(":", "-")
        target, disk = f"{PREFIX}:{hyphens}.os", f"/var/lib/ggnet/{hyphens}.raw"
        bare.run(["cp", f"/lab/io/imports/{template.name}", disk]).check()
        script += [
            f"/backstores/fileio create {hyphens} {disk}",
            f"/iscsi create {target}",
            f"/iscsi/{target}/tpg1/luns create /backstores/fileio/{hyphens}",
            f"/iscsi/{target}/tpg1/portals create 10.77.0.1",
            f"/iscsi/{target}/tpg1/acls create {PREFIX}:client:{hyphens}",
        ]
        files[f"{hyphens}.ipxe"] = SCRIPT.format(prefix=PREFIX, hyphens=hyphens)
    bare.run("targetcli", stdin="\n".join(script) + "\n", timeout=120).check()
    for name, text in files.items():
        bare.run(f"cat >/srv/tftp/{name}", stdin=text).check()
    bare.run("cp /usr/lib/ipxe/ipxe.efi /srv/tftp/; cat >/etc/dhcp/ggnet.conf; restart-dhcpd", stdin=DHCP).check()
    return bare


def test_every_firmware_boots_from_a_server_prepared_by_hand_and_no_pc_sees_what_another_wrote(served: Lab) -> None:
    for firmware, mac in MACS.items():
        served.pc(firmware.value, mac, firmware).power_on()
    for firmware, mac in MACS.items():
        pc = served.pcs[firmware.value]
        assert pc.wait("BOOT-OK") == mac
        assert pc.wait("NOTE-WAS") == ""
        assert pc.wait("NOTE-IS") == mac
    acls = served.run("cat /sys/kernel/config/target/iscsi/iqn*/tpgt_1/acls/*/info").check()
    assert acls.count("TARG_SESS_STATE_LOGGED_IN") == len(MACS)
    for pc in served.pcs.values():
        pc.power_off()


def test_a_pc_sees_at_its_next_boot_what_it_wrote(served: Lab) -> None:
    pc = served.pc("bios", MACS[Firmware.BIOS])
    pc.boot()
    assert pc.wait("NOTE-WAS") == MACS[Firmware.BIOS]
    pc.power_off()


def test_a_pc_that_the_network_sends_away_boots_its_local_disk(served: Lab) -> None:
    pc = served.pc("local", "52:54:00:00:00:0a", disk=True)
    pc.boot(until="LOCAL-DISK")
    assert "BOOT-OK" not in pc.console
    pc.power_off()


def test_a_restart_empties_the_kernel_and_keeps_the_disk(served: Lab) -> None:
    served.run("echo kept >/var/lib/ggnet/kept; echo lost >/root/lost; sync").check()
    served.restart()
    left = served.run("ls -d /sys/kernel/config/target/core/fileio*; cat /var/lib/ggnet/kept /root/lost")
    assert left.out.split() == ["kept"]
    assert served.run("pidof dhcpd in.tftpd").code == 0


def test_the_preload_lets_a_short_extended_state_through(lab: Lab, tmp_path: Path) -> None:
    code = Path(__file__).with_name("boot") / "xstate_test.c"
    subprocess.run(["gcc", "-o", tmp_path / "t", code], check=True)
    prepared: Prepared = lab.prepared
    refused = subprocess.run([tmp_path / "t"], check=False)
    taken = subprocess.run([tmp_path / "t"], check=False, env={"LD_PRELOAD": str(prepared.preload)})
    assert (refused.returncode, taken.returncode) == (1, 0)
