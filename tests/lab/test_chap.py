"""A PC that has to know a secret: it boots, nobody else is told it, and it stands nowhere but where it must."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping

import pytest

from tests.lab.documents import ROOM, Document, image, mac, machine, network, session
from tests.lab.guest import ADDRESS
from tests.lab.pc import Pc
from tests.lab.site import REPOSITORY, STATE, TARGETS, TFTP, Site, initiator, script, target, until
from tests.lab.witness import LoggedIn, targetcli

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
PC = "pc02"
SECRETS = "/etc/ggnet/secrets"
MUTUAL = {"username": PC, "password": "Ab3.the_:secret", "mutual-username": "disk", "mutual-password": "Ab3.disks-secret"}
FIRST = {"username": PC, "password": "Ab3.first_:0001"}
SECOND = {"username": PC, "password": "Ab3.other_:0002"}
TPG = f"{TARGETS}/{target(PC)}/tpgt_1"
AUTH = f"{TPG}/acls/{initiator(PC)}/auth"


def keep(site: Site, fields: Mapping[str, str], name: str = PC) -> None:
    """As a careful administrator does it: whole, and for root alone."""
    site.run(f"mkdir -p -m 700 {SECRETS}").check()
    text = "".join(f"{field}={value}\n" for field, value in fields.items())
    site.run(f"umask 077; cat >{SECRETS}/.new && mv {SECRETS}/.new {SECRETS}/{name}", stdin=text).check()


def room() -> list[Document]:
    others = (machine(name, number) for name, number in ROOM.items() if name != PC)
    return [network(), image(), *others, machine(PC, ROOM[PC], chap={"credential": PC}), session(PC)]


@pytest.fixture
def guarded(site: Site) -> Iterator[Site]:
    keep(site, MUTUAL)
    site.apply(room())
    site.ready(PC)
    yield site
    site.run(f"rm -rf {SECRETS}").check()


def inquiry(site: Site, fields: Mapping[str, str]) -> bool:
    """Whether an initiator on the wire that knows this gets the disk."""
    known = {f"LIBISCSI_CHAP_{name.upper()}": value for name, value in fields.items()}
    command = site.lab.wire.command(["iscsi-inq", "-i", initiator(PC), f"iscsi://{ADDRESS}:3260/{target(PC)}/0"])
    done = subprocess.run(command, env={**os.environ, **known}, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode or "LIO-ORG" in done.stdout
    return done.returncode == 0


def asked_from_elsewhere(site: Site) -> str:
    """What somebody on the wire gets who claims to be the PC."""
    with site.lab.guest.connect(8067) as line:
        line.sendall(f"GET /chap/{PC}.ipxe HTTP/1.1\r\nX-Forwarded-For: 10.77.0.{ROOM[PC]}\r\n\r\n".encode())
        return line.recv(4096).decode()


def held(site: Site) -> list[str]:
    return [site.read(f"{AUTH}/{name}").strip() for name in ("userid", "password")]


def spread(site: Site, one: Pc) -> dict[str, str]:
    """Everything that the run has produced and that somebody may read."""
    return {
        "plan": site.ggnet("plan", "-o", "json"),
        "objects": site.ggnet("get", "machines", "-o", "json") + site.ggnet("get", "sessions", "-o", "yaml"),
        "why": site.ggnet("why", f"machine/{PC}") + site.ggnet("describe", f"machine/{PC}"),
        "drift": site.ggnet("drift"),
        "events": json.dumps(site.events()),
        "audit": json.dumps(site.ask("audit")),
        "history": site.ggnet("history"),
        "metrics": site.client.get("/metrics").text,
        "log": site.lab.daemon.log.read_text(errors="replace"),
        "console of the PC": one.console,
        "git": site.git("log", "--all", "--patch"),
        "processes": site.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'").out,
    }


def files_with(site: Site, words: tuple[str, ...]) -> list[str]:
    """Files of the server that hold one of these: state and database, TFTP tree, repository, DHCP, log, secrets."""
    sought = " ".join(f"-e {word}" for word in words)
    places = f"{STATE} {TFTP} {REPOSITORY} /etc/dhcp /etc/target /etc/rtslib-fb-target /etc/ggnet /lab/io"
    found = site.run(f"grep -raslF --devices=skip --exclude-dir=pool {sought} {places}", timeout=120).out
    return sorted(found.split())


def test_a_pc_with_a_secret_boots_and_the_secret_is_nowhere_but_where_it_must_be(guarded: Site) -> None:
    site, password = guarded, MUTUAL["password"]
    assert not any(inquiry(site, known) for known in ({}, *[FIRST, SECOND] * 6))  # how often changes nothing for the PC
    assert asked_from_elsewhere(site).startswith("HTTP/1.1 404 ")
    one = site.lab.pc(PC, mac(ROOM[PC]))
    assert one.boot() == one.mac
    one.wait("NOTE-IS")
    site.await_phase(f"Session/{PC}", "Active")
    one.power_off()
    words = (password, MUTUAL["mutual-password"])
    until("the log is written", lambda: "secret refused" in site.lab.daemon.log.read_text(errors="replace"))
    assert {name: text for name, text in spread(site, one).items() if any(word in text for word in words)} == {}
    assert "chap" in site.read(script(one.mac))
    assert files_with(site, words) == [f"{SECRETS}/{PC}"]
    assert held(site) == [MUTUAL["username"], password]


def test_a_hand_edit_is_put_back_under_a_live_session_and_another_secret_waits_for_its_end(guarded: Site) -> None:
    site = guarded
    keep(site, FIRST)
    until("the first secret counts", lambda: held(site)[1] == FIRST["password"], 60)
    site.ready(PC)
    assert [inquiry(site, {}), inquiry(site, SECOND), inquiry(site, FIRST)] == [False, False, True]
    acl = f"/iscsi/{target(PC)}/tpg1/acls/{initiator(PC)}"
    with LoggedIn(site, PC, *FIRST.values()) as disk:
        site.await_phase(f"Session/{PC}", "Active")
        targetcli(site, "set global auto_save_on_exit=false", f"{acl} set auth password=somebody-elses")
        until("the secret is put back", lambda: held(site)[1] == FIRST["password"])
        site.run(f"echo 0 >{TPG}/attrib/authentication").check()
        until("it is asked for again", lambda: site.read(f"{TPG}/attrib/authentication").strip() == "1")
        assert disk.still_reads()
        keep(site, SECOND)
        steps = until("another secret waits", lambda: json.loads(site.ggnet("plan", "-o", "json"))["steps"])
        assert [(step["effect"], step["held"] is not None) for step in steps] == [("next-boot", True)]
        assert held(site)[1] == FIRST["password"]
        assert disk.still_reads()
    until("the other secret counts once it is gone", lambda: held(site)[1] == SECOND["password"], 60)
    site.ready(PC)
    assert [inquiry(site, FIRST), inquiry(site, SECOND)] == [False, True]
    told = json.dumps([event for event in site.events(f"Machine/{PC}") if event["reason"] == "Drifted"])
    assert f"acl/{initiator(PC)}/auth: expected " in told
    assert not [word for word in ("somebody-elses", FIRST["password"], SECOND["password"]) if word in told]
