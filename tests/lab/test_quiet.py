"""A second pass over a room that is as it should be writes nothing, anywhere; independent eyes see what the daemon says."""

import json
from typing import Any

import pytest

from controller.core.snapshot import METRICS, SWEEP
from tests.lab.documents import room, session
from tests.lab.site import POOL, STATE, TFTP, Site, backstore, initiator, target, until
from tests.lab.witness import Touched, exported, rtslib_dump, saveconfig, stores

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
OUTSIDE = ["/sys/kernel/config/target", TFTP, "/etc/dhcp", POOL]
FULL = room(session("pc1"), session("pc10", persistence="keep"), session("pc02", persistence="readonly"))
# What a quiet daemon may touch: its heartbeat, which is its lease and the time of its last sweep.
_ROWS = """
import sqlite3, json, sys
base = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
names = [row[0] for row in base.execute("select name from sqlite_master where type='table' order by name")]
print(json.dumps({name: sorted(map(repr, base.execute(f"select * from {name}"))) for name in names}))
"""


def rows(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.run(["/usr/bin/python3", "-c", _ROWS, f"{STATE}/ggnet.db"]).check())
    found["observations"] = [row for row in found["observations"] if not row.startswith((f"({SWEEP!r}", f"('{METRICS}"))]
    return {name: value for name, value in found.items() if "lease" not in name}


def dhcpd(site: Site) -> str:
    """The process that answers, and when it was started."""
    return site.run("cat /run/dhcpd.pid; cut -d' ' -f22 /proc/$(cat /run/dhcpd.pid)/stat").check()


def swept(site: Site) -> str:
    return str(site.client.get("/readyz").json()["checks"]["sweep"]["message"])


def test_sweeps_over_a_converged_room_write_nothing_outside_and_nothing_in_the_database(site: Site) -> None:
    site.apply(FULL)
    site.stop()
    site.start(GGNET_SWEEP_SECONDS="1")
    try:
        server, told = dhcpd(site), site.events()
        with Touched(site, OUTSIDE) as touched:
            before, first = rows(site), swept(site)
            until("more sweeps have ended", lambda: swept(site) != first)
            after = rows(site)
        assert touched.lines == []
        assert {name for name in before if before[name] != after[name]} == set()
        assert (dhcpd(site), site.events()) == (server, told)
    finally:
        site.stop()
        site.start(GGNET_SWEEP_SECONDS="60")


def test_a_daemon_that_was_killed_and_remembers_nothing_writes_nothing_outside(site: Site) -> None:
    site.apply(FULL)
    server = dhcpd(site)
    with Touched(site, OUTSIDE) as touched:
        site.stop("KILL")
        site.start()
    # A file that never has a name is called #INODE: with such, each process tries once how disks can be made here.
    assert [line for line in touched.lines if "/sources/" not in line and f"{POOL}/#" not in line] == []
    assert dhcpd(site) == server


def test_a_graceful_stop_touches_nothing_outside(site: Site) -> None:
    site.apply(FULL)
    server = dhcpd(site)
    with Touched(site, OUTSIDE) as touched:
        site.stop()
        touched_lines = touched.lines
    site.start()
    assert touched_lines == []
    assert dhcpd(site) == server


def test_the_same_commit_again_with_another_message_changes_nothing_outside(site: Site) -> None:
    site.apply(FULL)
    versions = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in site.ask("sessions")["items"]}
    with Touched(site, OUTSIDE) as touched:
        site.apply(FULL, "say it again")
    assert touched.lines == []
    assert versions == {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in site.ask("sessions")["items"]}


def disk(site: Site, told: Any) -> str:
    """The path of the file that a session says it serves: its own copy, or the golden image itself."""
    name = told.get("overlay") or f"golden@v{told['imageVersion']}.raw"
    return site.run(["find", POOL, "-type", "f", "-name", name]).check().strip()


def expected(site: Site, machine: str) -> dict[str, str]:
    """What the kernel must export for a machine, from what the daemon says in its session's status."""
    told = json.loads(site.ggnet("get", f"session/{machine}", "-o", "json"))["status"]
    readonly = int(machine == "pc02")
    return {
        "tpg1/enable": "1",
        "tpg1/authentication": "0",
        "tpg1/generate_node_acls": "0",
        "tpg1/portal/10.77.0.1:3260": "1",
        f"tpg1/lun/{told['lun']}": backstore(machine),
        f"tpg1/lun/{told['lun']}/file": disk(site, told),
        f"tpg1/lun/{told['lun']}/size": str(site.lab.prepared.boot_disk.stat().st_size),
        f"tpg1/acl/{told['initiator']}/lun/{told['lun']}": f"lun {told['lun']}, write_protect {readonly}",
    }


def test_targetcli_and_rtslib_agree_with_what_the_daemon_says(site: Site) -> None:
    site.apply(FULL)
    machines = ["pc02", "pc1", "pc10"]
    saved, dumped = saveconfig(site), rtslib_dump(site)
    for config in (saved, dumped):
        found = {iqn: facts for iqn, facts in exported(config).items() if iqn.startswith("iqn.2026-01.internal.ggnet")}
        assert found == {target(name): expected(site, name) for name in machines}
        assert [name for name in stores(config) if "ggnet-" in name] == [f"fileio/{backstore(name)}" for name in machines]
    seen = site.run("targetcli ls", timeout=90).check()
    for name in machines:
        assert target(name) in seen
        assert initiator(name) in seen
        described = site.ggnet("describe", f"session/{name}")
        assert target(name) in described
        assert initiator(name) in described
