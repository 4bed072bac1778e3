"""A Linux with its root on ext4, brought as qcow2: it runs from its private disk, which forgets or keeps what it wrote."""

import os

import pytest

from tests.lab import linux
from tests.lab.documents import Document, image, mac, machine, room, session
from tests.lab.pc import Firmware
from tests.lab.site import Site, target, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
NUMBERS = {"pc21": 121, "pc22": 122}
FIRMWARE = {"pc21": Firmware.BIOS, "pc22": Firmware.UEFI}
PERSISTENCE = {"pc21": "ephemeral", "pc22": "keep"}
CUT = {"ggnet/disruption": "allowed"}  # a PC that is off counts as running for a while


def wanted(state: str) -> list[Document]:
    machines = [machine(name, number) for name, number in NUMBERS.items()]
    sessions = [
        session(name, "debian", CUT if state == "stopped" else None, state=state, persistence=persistence)
        for name, persistence in PERSISTENCE.items()
    ]
    return [*room(), image("debian", "debian.qcow2", format="auto", os="linux"), *machines, *sessions]


@pytest.fixture
def debian(site: Site) -> Site:
    if reasons := linux.obstacles():
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail("; ".join(reasons), pytrace=False)
        pytest.skip("; ".join(reasons))
    site.put_image("debian.qcow2", linux.prepare())
    return site


def a_day(site: Site) -> dict[str, str]:
    """What each system says of its root, once all have been started and have switched themselves off."""
    site.apply(wanted("running"))
    site.ready(*NUMBERS, seconds=120)
    pcs = [site.lab.pc(name, mac(NUMBERS[name]), FIRMWARE[name], card=linux.CARD) for name in NUMBERS]
    for one in pcs:
        one.power_on()
    told = {}
    for one in pcs:
        told[one.name] = one.wait("LINUX-ROOT", 240)
        assert one.wait("LINUX-DISK") == target(one.name)
        one.await_off()
    site.apply(wanted("stopped"))
    until("nothing is served", lambda: not site.targets())
    return told


def test_a_linux_writes_to_its_root_over_iscsi_and_finds_it_at_the_next_start_only_where_the_disk_is_kept(
    debian: Site,
) -> None:
    assert a_day(debian) == {"pc21": "/dev/sda2 ext4 rw boot=1", "pc22": "/dev/sda2 ext4 rw boot=1"}
    assert a_day(debian) == {"pc21": "/dev/sda2 ext4 rw boot=1", "pc22": "/dev/sda2 ext4 rw boot=2"}
