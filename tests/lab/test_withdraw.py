"""What is no longer asked for is withdrawn: in the reverse of the order in which it was made, and nothing else with it."""

import pytest

from tests.lab.documents import ROOM, image, mac, machine, network, room, session
from tests.lab.site import IMPORTS, INCLUDE, POOL, TARGETS, TFTP, Site, backstore, script, target, until
from tests.lab.witness import Touched, kernel_tree

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
OUTSIDE = ["/sys/kernel/config/target", TFTP, "/etc/dhcp", POOL]


def overlay_of(site: Site, machine: str) -> str:
    """The path of a session's own disk."""
    found = site.run(f"find {POOL} -type f ! -path '{IMPORTS}/*' -name '{machine}.os+*'").check().split()
    assert len(found) == 1, found
    return found[0]


def order(lines: list[str], *paths: str) -> list[str]:
    """These paths in the order in which they, or what is below them, were first touched."""
    first = {path: next((at for at, line in enumerate(lines) if line.startswith(path)), -1) for path in paths}
    assert -1 not in first.values(), (first, lines)
    return sorted(first, key=lambda path: first[path])


def test_a_stopped_session_goes_script_first_then_target_then_disk(site: Site) -> None:
    site.apply(room(session("pc02")))
    boot, exported, overlay = script(mac(ROOM["pc02"])), f"{TARGETS}/{target('pc02')}", overlay_of(site, "pc02")
    with Touched(site, OUTSIDE) as touched:
        site.apply(room(session("pc02", state="stopped")))
        until("the overlay is gone", lambda: f"{overlay} delete" in touched.lines)
    assert order(touched.lines, boot, exported, overlay) == [boot, exported, overlay]
    assert site.get("Session/pc02")["status"]["phase"] == "Stopped"
    assert not site.targets()
    assert not site.backstores()


def test_a_removed_machine_leaves_dhcp_before_its_script_and_target_go(site: Site) -> None:
    site.apply(room(session("pc02")))
    boot, exported, overlay = script(mac(ROOM["pc02"])), f"{TARGETS}/{target('pc02')}", overlay_of(site, "pc02")
    with Touched(site, OUTSIDE) as touched:
        site.apply([one for one in room() if one["metadata"]["name"] != "pc02"])
        until("the overlay is gone", lambda: f"{overlay} delete" in touched.lines)
    assert order(touched.lines, INCLUDE, boot, exported, overlay) == [INCLUDE, boot, exported, overlay]


def test_a_pc_whose_session_was_stopped_by_a_commit_boots_its_local_disk(site: Site) -> None:
    site.apply(room(session("pc03")))
    site.apply(room(session("pc03", state="stopped")))
    one = site.lab.pc("pc03-local", mac(ROOM["pc03"]), disk=True)
    one.boot(until="LOCAL-DISK")
    assert "BOOT-OK" not in one.console
    one.power_off()


def test_removing_pc1_leaves_pc10_as_it_is(site: Site) -> None:
    site.apply(room(session("pc1"), session("pc10")))
    folders = [f"{TARGETS}/{target('pc10')}", f"/sys/kernel/config/target/core/*/{backstore('pc10')}"]
    before, boot = kernel_tree(site, *folders), site.read(script(mac(ROOM["pc10"])))
    with Touched(site, ["/sys/kernel/config/target", TFTP]) as touched:
        rest = {name: number for name, number in ROOM.items() if name != "pc1"}
        site.apply([network(), image(), *(machine(name, number) for name, number in rest.items()), session("pc10")])
        until("pc1 is gone", lambda: site.targets() == [target("pc10")])
    assert kernel_tree(site, *folders) == before
    assert site.read(script(mac(ROOM["pc10"]))) == boot
    assert "ggnet-pc10-0" in site.hosts()
    assert "ggnet-pc1-0" not in site.hosts()
    ours = [line for line in touched.lines if "pc10" in line or mac(ROOM["pc10"]).replace(":", "-") in line]
    assert not ours


def test_a_removed_session_is_gone_from_the_kernel_the_pool_and_the_api(site: Site) -> None:
    site.apply(room(session("pc02"), session("pc03")))
    site.apply(room(session("pc03")))
    until("pc02 is gone", lambda: site.targets() == [target("pc03")])
    until("its disk is gone", lambda: len(site.overlays()) == 1)
    assert site.backstores() == [backstore("pc03")]
    until("the object is gone", lambda: site.client.get("/api/v1/sessions/pc02").status_code == 404)
