"""The command as people run it: a process of its own against a door on a socket, and every exit code of the contract."""

import json
import os
import pty
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from api.cli import columns, habits, kinds
from controller.core.observed import Observed
from controller.core.snapshot import dumps
from manifests.kinds import PLURALS
from tests.api.served import SITE, Served, command, environment, ggnet, machine, serving, session, several
from tests.api.warm import Warm


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    """One door for the tests that leave the site as they found it."""
    with serving(tmp_path_factory.mktemp("command"), warm) as served:
        served.lead()
        served.observe(dumps(Observed(complete=frozenset({"pool", "lio", "tftp", "dhcp"}))))
        served.apply(several(SITE, session(7), session(8, state="stopped")))
        served.reach("Session/pc07", "Ready")
        served.report("Image/win11", {"observedGeneration": 1, "phase": "Ready", "version": 3, "size": 5 << 30})
        yield served


def test_0_when_it_went_well(daemon: Served) -> None:
    done = daemon.ggnet("get", "machines")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].split() == ["NAME", "SESSION", "PHASE", "ADDRESS", "MACS", "AGE"]
    assert done.stdout.splitlines()[1].split()[:5] == ["pc07", "-", "Pending", "10.77.0.57", "52:54:00:00:00:07"]


def test_1_when_nobody_answers(warm: Warm) -> None:
    done = warm.run(["get", "machines"], "", environment(GGNET_URL="http://127.0.0.1:1", GGNET_TOKEN="x"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no answer from http://127.0.0.1:1" in done.stderr
    assert "GGNET_URL" in done.stderr


def test_2_when_there_is_something_to_do(daemon: Served) -> None:
    asked = daemon.ggnet("plan", "--detailed-exitcode")
    assert asked.returncode == 2, asked.stderr
    assert "load dhcpd" in asked.stdout
    assert "(absent) ->" in asked.stdout
    assert daemon.ggnet("plan").returncode == 0
    steps = json.loads(daemon.ggnet("plan", "-o", "json").stdout)["steps"]
    assert asked.stdout.count("[") >= len(steps) > 0


MAKING = {
    "type": "Progressing",
    "status": "True",
    "reason": "Progressing",
    "message": "import 12 %",
    "lastTransitionTime": "2026-01-05T12:00:00Z",
    "observedGeneration": 1,
}

WRONG = (
    "get",
    "get printers",
    "frobnicate",
    "get machines --bad",
    "get machine pc07 pc08",
    "get machine/pc07 session/pc07",
    "describe pc07",
    "start image/win11",
    "stop network/main",
    "session commit machine/pc07",
    "image versions machine/pc07",
    "image versions ../machines/pc07",
    "image promote ../machines/pc07@v1",
    "delete machines",
    "get pc/A%2e",
    "wait machine/pc07 --for rain",
    "wait session/pc07 --for phase=Stoped",
    "wait machine/pc07 --timeout soon",
    "validate /nonexistent",
)


@pytest.mark.parametrize("line", WRONG)
def test_2_when_it_was_used_wrongly(daemon: Served, line: str) -> None:
    done = daemon.ggnet(*line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "rror" in done.stderr


def test_a_verb_of_another_tool_is_answered_with_ours() -> None:
    for verb, instead in habits.INSTEAD.items():
        done = ggnet(verb, "machine/pc07")
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: there is no verb {verb}\n  {instead}\n")
        for named in re.findall("ggnet ([a-z]+)", instead):
            assert ggnet(named, "-h").returncode == 0, named


def test_3_when_the_object_has_moved_on_or_is_managed(site: Served, tmp_path: Path) -> None:
    old = tmp_path / "pc07.yaml"
    old.write_text(site.ggnet("get", "machine/pc07", "-o", "yaml").stdout)
    site.apply(machine(7).replace("room: main", "room: other"))
    stale = site.ggnet("apply", "-f", str(old))
    assert stale.returncode == 3, stale.stderr
    site.commit(machine(12))
    managed = site.ggnet("delete", "machine/pc12")
    assert (managed.returncode, "infra" in managed.stderr) == (3, True)
    assert site.ggnet("delete", "machine/pc12", "--force").returncode == 0


def test_4_when_there_is_no_such_object(daemon: Served) -> None:
    for words in (
        ("get", "machine/pc99"),
        ("describe", "s/pc99"),
        ("delete", "image/no"),
        ("why", "net/no"),
        ("stop", "pc99"),
    ):
        done = daemon.ggnet(*words)
        assert (done.returncode, done.stdout) == (4, ""), words
        assert "There is no" in done.stderr
        assert "\n  see ggnet get " in done.stderr
    assert daemon.ggnet("wait", "machine/pc99", "--timeout", "1s").returncode == 4
    assert daemon.ggnet("start", "pc99", "--image", "win11").returncode == 4


def test_what_is_refused_says_what_to_type_and_not_what_to_send(site: Served) -> None:
    for words in (
        ("start", "pc07", "pc99", "--image", "win11"),
        ("start", "pc07", "pc99", "--image", "win11", "--partial"),
        ("history", "--approve", "abcdef0"),
        ("token", "revoke", "0123456789ab"),
        ("binding", "delete", "x"),
        ("image", "discard", "x"),
        ("restore", "machine/pc99"),
    ):
        done = site.ggnet(*words)
        assert (done.returncode in (3, 4), "ggnet " in done.stdout + done.stderr) == (True, True), (words, done.stderr)
        assert not {"GET", "partial=true"} & set(done.stderr.replace(".", " ").split()), done.stderr
        assert "/api/v1" not in done.stdout
    both = site.ggnet("webhook", "create")
    assert (both.returncode, "Value error" in both.stderr) == (5, False)


def test_5_when_it_is_invalid_with_file_and_line(daemon: Served, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(several(machine(9), machine(10).replace("10.77.0.60", "10.99.0.60")))
    offline = tmp_path / "worse.yaml"
    offline.write_text(machine(9).replace("macs", "mcas"))
    applied = daemon.ggnet("apply", "-f", str(bad))
    assert applied.returncode == 5
    assert f"{bad}:6: Machine/pc10 spec.address" in applied.stderr, applied.stderr
    for words in (("validate", str(offline)), ("plan", "-f", str(offline)), ("apply", "-f", str(tmp_path))):
        done = daemon.ggnet(*words)
        assert done.returncode == 5
        assert f"{offline}:4: Machine/pc09 spec.mcas" in done.stderr, done.stderr
    assert daemon.ggnet("get", "machines", "-o", "name").stdout.split() == ["Machine/pc07", "Machine/pc08"]
    needed = daemon.ggnet("delete", "image/win11")
    assert (needed.returncode, "first delete or change what needs it" in needed.stderr) == (5, True)
    nothing = daemon.ggnet("apply", "-f", "-", stdin="# no manifest\n")
    assert (nothing.returncode, "-: no manifest in it" in nothing.stderr) == (5, True)
    assert daemon.ggnet("plan", "-f", "-", stdin="").returncode == 5


def test_6_without_the_token(daemon: Served, tmp_path: Path) -> None:
    wrong = ggnet("get", "machines", GGNET_URL=daemon.url, GGNET_TOKEN="wrong")
    assert (wrong.returncode, wrong.stdout) == (6, "")
    nothing = ggnet("get", "machines", GGNET_URL=daemon.url, GGNET_STATE_DIR=str(tmp_path))
    assert (nothing.returncode, "GGNET_TOKEN" in nothing.stderr) == (6, True)


def test_the_local_token_is_not_sent_to_another_machine(daemon: Served) -> None:
    done = ggnet("get", "machines", GGNET_URL="http://192.0.2.1:8080", GGNET_STATE_DIR=str(daemon.folder))
    assert (done.returncode, "another machine" in done.stderr) == (6, True)


def test_a_phase_that_nothing_has_is_not_waited_for(daemon: Served) -> None:
    done = daemon.ggnet("wait", "session/pc07", "--for", "phase=Stoped", "--timeout", "1h")
    assert "phase=Stoped: nothing has this phase" in done.stderr
    assert "did you mean Stopped?" in done.stderr


def test_7_when_the_wait_is_over(daemon: Served) -> None:
    begin = time.monotonic()
    done = daemon.ggnet("wait", "session/pc07", "--for", "phase=Active", "--timeout", "0.5s")
    assert (done.returncode, done.stdout) == (7, "")
    assert time.monotonic() - begin < 10
    assert "ggnet why Session/pc07" in done.stderr


def test_9_when_a_guard_refuses(site: Served) -> None:
    site.apply(session(7))
    site.reach("Session/pc07", "Active")
    refused = site.ggnet("delete", "session/pc07")
    assert refused.returncode == 9, refused.stderr
    assert "--force" in refused.stderr
    assert site.ggnet("delete", "session/pc07", "--force").returncode == 0


def test_a_wait_is_for_the_generation_that_it_saw(site: Served) -> None:
    site.apply(session(7))
    site.reach("Session/pc07", "Ready")
    assert site.ggnet("wait", "session/pc07").returncode == 0
    site.apply(session(7).replace("state: running", "state: running, ttl: 8h"))
    for goal in ("condition=Ready", "phase=Ready"):
        assert site.ggnet("wait", "session/pc07", "--for", goal, "--timeout", "0.5s").returncode == 7
    site.reach("Session/pc07", "Ready")
    assert site.ggnet("wait", "s/pc07", "--for", "condition=ready").returncode == 0
    assert site.ggnet("wait", "s/pc07", "--for", "phase=ready").stdout == "Session/pc07 phase=Ready\n"


def test_a_wait_for_deletion_ends_when_the_object_is_gone(site: Served) -> None:
    site.apply(session(7))
    site.ggnet("delete", "session/pc07")
    assert site.ggnet("wait", "session/pc07", "--for", "delete", "--timeout", "0.5s").returncode == 7
    site.gone("Session/pc07")
    assert site.ggnet("wait", "session/pc07", "--for", "delete", "--timeout", "5s").returncode == 0


def test_an_apply_that_waits_is_ready_when_it_ends(site: Served, tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(SITE)
    late = site.ggnet("apply", "-f", str(file), "--wait", "--timeout", "0.5s")
    assert late.returncode == 7
    for key in ("Network/main", "Image/win11", "Machine/pc07", "Machine/pc08"):
        site.reach(key, "Ready")
    done = site.ggnet("apply", "-f", str(file), "--wait", "--timeout", "5s")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "4 unchanged")


def test_what_get_prints_can_be_applied_again(daemon: Served) -> None:
    for form in ("yaml", "json"):
        printed = daemon.ggnet("get", "machines", "-o", form).stdout
        again = daemon.ggnet("apply", "-f", "-", "--dry-run", stdin=printed)
        assert (again.returncode, again.stdout) == (0, "2 unchanged (dry run)\n"), again.stderr


def test_get_prints_what_was_asked_for(daemon: Served) -> None:
    assert daemon.ggnet("get", "pc", "-l", "room=lab", "-o", "name").stdout == "Machine/pc08\n"
    assert yaml.safe_load(daemon.ggnet("get", "Network/main", "-o", "yaml").stdout)["spec"]["cidr"] == "10.77.0.0/24"
    sessions = daemon.ggnet("get", "SESSIONS").stdout.splitlines()
    assert sessions[0].split() == ["NAME", "MACHINE", "IMAGE", "VERSION", "PHASE", "READY", "CONNECTION", "AGE"]
    assert sessions[1].split()[:6] == ["pc07", "pc07", "win11", "-", "Ready", "True"]
    images = daemon.ggnet("get", "images", "-o", "wide").stdout.splitlines()
    assert images[1].split()[:4] == ["win11", "v3", "5.0GiB", "Ready"]
    assert images[1].split()[6] == "win11.raw"
    none = daemon.ggnet("get", "machines", "-l", "room=none")
    assert (none.stdout, none.stderr) == ("", "no machines\n")


def test_describe_and_why_say_what_is_known(daemon: Served) -> None:
    told = daemon.ggnet("describe", "session/pc07").stdout
    assert "Session/pc07" in told
    assert "  image: win11" in told
    assert "  enabled: true" in daemon.ggnet("describe", "machine/pc07").stdout
    assert "Served" in told
    assert "Nothing is in the way of Session/pc07" in daemon.ggnet("why", "session/pc07").stdout


def test_kind_and_name_may_be_two_words(site: Served) -> None:
    site.apply(session(7))
    for words in (("get", "machine", "pc07"), ("get", "pcs", "pc07"), ("describe", "session", "pc07")):
        done = site.ggnet(*words)
        assert (done.returncode, "pc07" in done.stdout) == (0, True), done.stderr
    assert site.ggnet("why", "session", "pc07").returncode == 0
    assert site.ggnet("events", "session", "pc07").returncode == 0
    assert site.ggnet("suspend", "machine", "pc07").stdout == "Machine/pc07 suspended\n"
    assert site.ggnet("resume", "machine", "pc07").stdout == "Machine/pc07 resumed\n"
    assert site.ggnet("delete", "session", "pc07").stdout == "Session/pc07 deleted\n"
    assert site.ggnet("restore", "session", "pc07").stdout == "Session/pc07 restored\n"
    assert site.ggnet("wait", "session", "pc07", "--timeout", "0.1s").returncode == 7
    assert "session/pc07" in site.ggnet("describe", "pc07").stderr, "what to write instead"


def test_the_everyday_verbs(site: Served) -> None:
    assert site.ggnet("start", "pc07", "--image", "win11").stdout == "Session/pc07 starts win11\n"
    site.reach("Session/pc07", "Active")
    assert "when its PC is shut down" in site.ggnet("stop", "machine/pc07").stdout
    assert site.ggnet("stop", "pc07", "--force").stdout == "Session/pc07 stops\n"
    assert site.ggnet("suspend", "session/pc07").stdout == "Session/pc07 suspended\n"
    assert "paused" in site.ggnet("get", "session/pc07", "-o", "yaml").stdout
    assert site.ggnet("resume", "session/pc07").stdout == "Session/pc07 resumed\n"


def test_history_tells_verdicts_and_lets_a_held_revision_through(site: Served) -> None:
    problem = {"file": "pcs.yaml", "line": 7, "object": "Machine/pc07", "field": "spec.macs", "message": "is missing"}
    site.record("a" * 40, "refused", (problem,))
    site.record("b" * 40, "guarded")
    told = site.ggnet("history").stdout
    assert "pcs.yaml:7: Machine/pc07 spec.macs: is missing" in told
    assert "guarded" in told
    assert site.ggnet("history", "--approve", "aaaaaaa").returncode == 4
    assert site.ggnet("history", "--approve", "../x").returncode == 2
    assert site.ggnet("history", "--approve", "bbbbbbb").returncode == 0
    site.record("c" * 40, "guarded", ({"message": "would delete 7 of 9 objects"},))
    assert "would delete" in site.ggnet("history").stdout
    assert site.ggnet("history", "--approve", "ccccccc").returncode == 0
    assert "would delete" not in site.ggnet("history").stdout, "it was let through"
    site.record("d" * 40, "refused", (problem,) * 5)
    assert site.ggnet("history").stdout.count("ddddddd") == 1 + 5
    site.record("e" * 40, "accepted")
    older = site.ggnet("history").stdout
    assert (older.count("ddddddd"), "and 2 more: ggnet history -o json" in older) == (1 + 3 + 1, True)
    assert json.loads(site.ggnet("history", "-o", "json").stdout)["items"]


def test_validate_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    assert ggnet("validate", str(tmp_path)).stdout == "4 objects, all valid\n"
    assert ggnet("validate", "-", stdin=SITE).returncode == 0
    alone = ggnet("validate", "-", stdin=session(7))
    assert alone.returncode == 5
    assert alone.stderr.startswith("<stdin>:")


def test_the_watch_prints_what_comes(site: Served) -> None:
    here = environment(GGNET_URL=site.url, GGNET_STATE_DIR=str(site.folder), PYTHONUNBUFFERED="1")
    with site.warm.start(["get", "machines", "--watch", "-o", "name"], here, stdout=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        assert [watching.stdout.readline() for _ in range(2)] == ["Machine/pc07\n", "Machine/pc08\n"]
        site.apply(machine(9))
        assert watching.stdout.readline() == "Machine/pc09\n"
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130


def test_what_a_watch_prints_stands_below_the_table(site: Served) -> None:
    here = environment(GGNET_URL=site.url, GGNET_STATE_DIR=str(site.folder), PYTHONUNBUFFERED="1")
    with site.warm.start(["get", "machines", "--watch"], here, stdout=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        above = [watching.stdout.readline() for _ in range(3)]
        site.apply(machine(9))
        below = watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
    assert below.index("10.77.0.59") == above[0].index("ADDRESS") == above[1].index("10.77.0.57")


def test_a_terminal_gets_colour_and_a_pipe_gets_none(daemon: Served) -> None:
    master, slave = pty.openpty()
    surroundings = environment(GGNET_URL=daemon.url, GGNET_STATE_DIR=str(daemon.folder), TERM="xterm-256color", COLUMNS="70")
    with daemon.warm.start(["get", "sessions", "-o", "wide"], surroundings, stdout=slave) as getting:
        assert getting.wait(60) == 0
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert "\x1b[" in shown
    assert "pc07" in shown
    for title in ("CONNECTION", "OVERLAY", "PERSISTENCE", "LABELS"):
        assert title in shown, "a title is not broken, however narrow it is"
    assert "\x1b" not in daemon.ggnet("get", "sessions").stdout


def test_a_wait_tells_a_terminal_what_it_waits_for(site: Served) -> None:
    site.apply(session(7))
    site.report("Session/pc07", {"observedGeneration": 1, "phase": "Preparing", "conditions": [MAKING]})
    master, slave = pty.openpty()
    words = ["wait", "session/pc07", "--timeout", "0.5s"]
    here = environment(GGNET_URL=site.url, GGNET_STATE_DIR=str(site.folder), TERM="xterm")
    with site.warm.start(words, here, stderr=slave) as waiting:
        assert waiting.wait(60) == 7
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert "Session/pc07: import 12 %" in shown
    assert "\r\x1b[K\r\x1b[K" not in shown, "a line that is empty"
    assert shown.rpartition("\x1b[K")[2].startswith("\x1b[31merror: Session/pc07 did not reach")
    assert "import" not in site.ggnet(*words).stderr, "into a pipe only the end"


def test_nothing_that_the_server_says_steers_the_terminal(site: Served) -> None:
    site.record("c" * 40, "refused", ({"file": "a\x1b[2J.yaml", "line": 1, "message": "\x07bell"},))
    told = site.ggnet("history").stdout
    assert "\x1b" not in told
    assert "\x07" not in told
    assert "\\x1b[2J" in told


def test_help_is_quick_and_every_verb_has_an_example() -> None:
    begin = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    told = subprocess.run(command("--help"), capture_output=True, text=True, env=environment(), check=True).stdout
    took = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - begin
    verbs = [
        line.split()[0] for line in told.partition("Every day:")[2].splitlines() if line.startswith("  ") and line[2] != " "
    ]
    assert {"up", "apply", "plan", "get", "wait", "why", "doctor", "completion", "migrate"} <= set(verbs)
    assert "..." not in told.partition("Every day:")[2], "a sentence that is cut short"
    assert took < 1.5, "seconds of a processor: it takes a third of one"
    loaded = subprocess.run(
        [*command()[:-1], "import sys; from api.cli import main; print(*sys.modules)"],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    ).stdout.split()
    assert not {"fastapi", "sqlalchemy", "pydantic", "httpx", "rich", "yaml"} & set(loaded)


@pytest.mark.parametrize("group", ["image", "session", "audit", "webhook", "user", "token", "backup"])
def test_the_help_of_a_group_has_its_sentences_whole(group: str) -> None:
    told = ggnet(group, "--help").stdout.partition("Commands:")[2]
    assert told
    assert "..." not in told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_made(shell: str) -> None:
    assert "_GGNET_COMPLETE" in ggnet("completion", shell).stdout


def test_the_schema_is_exported(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    assert ggnet("schema", "export", "--to", str(file)).returncode == 0
    assert json.loads(file.read_text()) == json.loads(ggnet("schema", "export").stdout)
    assert ggnet("schema", "export", "--to", "/nonexistent/x").returncode == 1


def test_the_commands_kinds_are_the_languages() -> None:
    assert PLURALS == kinds.KINDS
    assert set(columns.COLUMNS) == set(PLURALS)
