"""What dhcpd will not take leaves out itself and nothing else."""

import pytest

from tests.lab.documents import ROOM, mac, room, session
from tests.lab.site import ADMIN_CONF, INCLUDE, Site, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
POISON = "host ggnet-pc03-0 { hardware ethernet 52:54:00:00:ff:03; }\n"


def test_a_host_that_dhcpd_refuses_is_named_and_every_other_machine_is_ready(site: Site) -> None:
    everything = room(*(session(name) for name in ROOM))
    without = [one for one in everything if one["metadata"]["name"] != "pc03"]
    site.apply(without)
    administrators = site.read(ADMIN_CONF)
    site.write(ADMIN_CONF, POISON + administrators)
    try:
        assert site.judged(site.commit(everything))["verdict"] == "accepted"
        site.ready(*(name for name in ROOM if name != "pc03"))
        said = until("pc03 says why", lambda: refusal(site))
        assert "ggnet-pc03-0" in said
        assert site.read(ADMIN_CONF) == POISON + administrators
        assert sorted(site.hosts()) == sorted(f"ggnet-{name}-0" for name in ROOM if name != "pc03")
        assert site.run("kill -0 $(cat /run/dhcpd.pid)").code == 0
        assert any("ggnet-pc03-0" in event["message"] for event in site.events())
    finally:
        site.write(ADMIN_CONF, administrators)
    until("pc03 is in once nothing stands in its way", lambda: "ggnet-pc03-0" in site.hosts(), 60)
    site.ready("pc03")


def refusal(site: Site) -> str:
    """What pc03's conditions complain of."""
    conditions = site.get("Machine/pc03").get("status", {}).get("conditions", [])
    return "; ".join(one["message"] for one in conditions if one["status"] == "False" and "ggnet-pc03-0" in one["message"])


def test_when_dhcpd_takes_nothing_at_all_the_old_file_is_served_on(site: Site) -> None:
    site.apply(room(session("pc02")))
    administrators, include, pid = site.read(ADMIN_CONF), site.read(INCLUDE), site.read("/run/dhcpd.pid")
    site.write(ADMIN_CONF, administrators + "this is no statement of dhcpd;\n")
    try:
        documents = [one for one in room(session("pc02")) if one["metadata"]["name"] != "pc04"]
        sha = site.commit(documents)
        assert site.judged(sha)["verdict"] == "accepted"
        until(
            "it is told",
            lambda: any("dhcp" in event["message"].lower() and event["type"] == "Warning" for event in site.events()),
        )
        assert site.read(INCLUDE) == include
        assert site.read("/run/dhcpd.pid") == pid
        assert site.run("kill -0 $(cat /run/dhcpd.pid)").code == 0
    finally:
        site.write(ADMIN_CONF, administrators)
    until("the change arrives afterwards", lambda: "ggnet-pc04-0" not in site.hosts(), 60)
    assert mac(ROOM["pc02"]) in site.read(INCLUDE)
