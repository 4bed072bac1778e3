"""PCs without a disk boot from what was committed: every firmware, each from its own copy of one image."""

import hashlib

import pytest

from tests.lab.documents import ROOM, mac, room, session
from tests.lab.pc import Firmware, Pc
from tests.lab.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
PCS = {"pc02": Firmware.BIOS, "pc03": Firmware.UEFI, "pc04": Firmware.UEFI_PXE}


def pc(site: Site, name: str, firmware: Firmware = Firmware.BIOS, *, disk: bool = False) -> Pc:
    return site.lab.pc(name, mac(ROOM[name]), firmware, disk=disk)


def test_a_commit_makes_pcs_of_every_firmware_boot_at_once_and_none_sees_what_another_wrote(site: Site) -> None:
    site.apply(room(*(session(name) for name in PCS)))
    golden = site.golden_digests()
    site.ready(*PCS)
    pcs = [pc(site, name, firmware) for name, firmware in PCS.items()]
    for one in pcs:
        one.power_on()
    for one in pcs:
        assert one.wait("BOOT-OK") == one.mac
        assert one.wait("NOTE-WAS") == ""
        assert one.wait("NOTE-IS") == one.mac
    for one in pcs:
        site.await_phase(f"Session/{one.name}", "Active")
        one.power_off()
    assert site.golden_digests() == golden


def test_the_imported_image_is_the_source_byte_for_byte_and_its_status_says_so(site: Site) -> None:
    digest = hashlib.sha256(site.lab.prepared.boot_disk.read_bytes()).hexdigest()
    assert digest in site.golden_digests()
    assert site.get("Image/golden")["status"]["sha256"] == digest
