"""``ggnet login`` and its kin, as people run them: a process of its own against a door on a socket."""

import json
import os
import pty
import select
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.api.people import PASSWORD, A, Person, renew, user
from tests.api.served import Served, command, environment, ggnet
from tests.api.warm import Warm
from tests.servers import free_port

NEW = "quite another sentence"


def logins(door: Served) -> Path:
    return door.folder / "config" / "ggnet" / "logins.json"


def kept(door: Served, context: str = "campus") -> dict[str, str]:
    found: dict[str, str] = json.loads(logins(door).read_text())["contexts"][context]
    return found


def log_in(door: Served, name: str = "ada", context: str = "campus") -> None:
    done = door.ggnet("login", "--username", name, "--context", context, stdin=PASSWORD + "\n")
    assert done.returncode == 0, done.stderr
    assert (PASSWORD in done.stdout + done.stderr, f"as {name}" in done.stdout) == (False, True)


def test_the_first_administrator_is_made_on_the_server_with_no_login(door: Served) -> None:
    made = door.ggnet("user", "create", "ada", "--admin", stdin=PASSWORD + "\n")
    assert (made.returncode, made.stdout) == (0, "user ada created (ADMIN)\n"), made.stderr
    log_in(door)
    assert stat.S_IMODE(logins(door).stat().st_mode) == 0o600
    assert stat.S_IMODE(logins(door).parent.stat().st_mode) == 0o700
    (door.folder / "admin.token").rename(door.folder / "hidden")
    assert door.ggnet("user", "list").stdout.splitlines()[1].split()[:3] == ["ada", "ADMIN", "open"]


def test_accounts_are_handled(door: Served) -> None:
    assert door.ggnet("user", "create", "bob", "--role", "operator", stdin=PASSWORD).returncode == 0
    assert door.ggnet("user", "create", "bob", stdin=PASSWORD).returncode == 3
    weak = door.ggnet("user", "create", "eve", stdin="short\n")
    assert (weak.returncode, "at least 12" in weak.stderr) == (5, True)
    for words in (["--role", "ADMIN"], ["--disable"], ["--password"]):
        assert door.ggnet("user", "set", "bob", *words, stdin=NEW).returncode == 0
    shown = yaml.safe_load(door.ggnet("user", "show", "bob", "-o", "yaml").stdout)
    assert (shown["role"], shown["disabled"]) == ("ADMIN", True)
    assert json.loads(door.ggnet("user", "list", "-o", "json").stdout)["items"][0]["username"] == "bob"
    assert door.ggnet("user", "list", "-o", "name").stdout == "bob\n"
    assert door.ggnet("user", "set", "bob").returncode == 2
    assert door.ggnet("user", "unlock", "bob").returncode == 0
    assert door.ggnet("user", "delete", "bob").returncode == 0
    for words in (["show", "bob"], ["show", ".."], ["delete", "a/b"], ["unlock", "../users"]):
        assert door.ggnet("user", *words).returncode == 4


def test_a_wrong_password_is_exit_code_6(door: Served) -> None:
    user(door)
    done = door.ggnet("login", "--username", "ada", stdin="not the password\n")
    assert (done.returncode, done.stdout) == (6, "")
    assert "unlock" in done.stderr
    assert not logins(door).exists()


def test_what_a_role_may_not_is_exit_code_6(door: Served) -> None:
    user(door)
    log_in(door)
    done = door.ggnet("user", "list")
    assert (done.returncode, "administrators" in done.stderr) == (6, True)


def test_a_login_renews_itself_and_is_not_spent_by_two_at_once(door: Served) -> None:
    user(door)
    log_in(door)
    stale = kept(door)["access"][:-3]
    text = logins(door).read_text()
    logins(door).write_text(text.replace(kept(door)["access"], stale))
    with ThreadPoolExecutor(3) as pool:
        here = {"GGNET_URL": door.url, "XDG_CONFIG_HOME": str(door.folder / "config")}
        done = list(pool.map(lambda _: ggnet("token", "list", **here), range(3)))
    assert [one.returncode for one in done] == [0, 0, 0], done
    assert kept(door)["access"] != stale
    assert Person(door, kept(door)["access"]).status() == 200
    assert renew(door, kept(door)["refresh"]).status_code == 200


def test_a_login_that_is_over_says_how_to_go_on(door: Served) -> None:
    user(door)
    log_in(door)
    with door.http as http:
        http.patch(f"{A}/users/ada", json={"disabled": True}).raise_for_status()
    done = door.ggnet("token", "list", GGNET_CONTEXT="campus")
    assert (done.returncode, "ggnet login" in done.stderr) == (6, True)
    again = door.ggnet("token", "list", GGNET_CONTEXT="campus")
    assert (again.returncode, "nobody is logged in" in again.stderr) == (6, True)


def test_logout_ends_the_login_on_the_server_and_here(door: Served) -> None:
    user(door)
    log_in(door)
    before = kept(door)
    assert door.ggnet("logout").returncode == 0
    assert Person(door, before["access"]).status() == renew(door, before["refresh"]).status_code == 401
    assert before["access"] not in logins(door).read_text()
    assert door.ggnet("logout").returncode == 1


def test_contexts_choose_among_servers(door: Served) -> None:
    user(door, "ada")
    user(door, "bob")
    log_in(door, "ada", "first")
    log_in(door, "bob", "second")
    found = json.loads(door.ggnet("context", "list", "-o", "json").stdout)["items"]
    assert [(one["name"], one["user"], one["current"]) for one in found] == [
        ("local", "admin", False),
        ("first", "ada", False),
        ("second", "bob", True),
    ]
    assert kept(door, "first")["access"] not in json.dumps(found)
    made = door.ggnet("token", "create", "ci", "--scope", "read")
    assert json.loads(door.ggnet("token", "list", "-o", "json").stdout)["items"][0]["user"] == "bob"
    assert door.ggnet("token", "list", "-o", "name", GGNET_CONTEXT="first").stdout == ""
    assert door.ggnet("context", "use", "first").returncode == 0
    assert door.ggnet("token", "list", "-o", "name").stdout == ""
    assert door.ggnet("token", "list", "-o", "name", GGNET_TOKEN=made.stdout.strip()).stdout != ""
    assert door.ggnet("context", "delete", "first").returncode == 0
    assert door.ggnet("context", "use", "first").returncode == 2
    assert door.ggnet("get", "machines", GGNET_CONTEXT="nowhere").returncode == 2
    assert door.ggnet("get", "machines", GGNET_CONTEXT="local").returncode == 0
    two = door.ggnet("get", "machines", GGNET_CONTEXT="second", GGNET_URL="http://127.0.0.1:1")
    assert (two.returncode, "two servers" in two.stderr) == (2, True)


def test_keys_for_programs(door: Served) -> None:
    made = door.ggnet("token", "create", "ci", "--scope", "read", "--expires", "90d")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert "shown this once" in made.stderr
    assert door.ggnet("get", "machines", GGNET_TOKEN=key).returncode == 0
    assert door.ggnet("user", "list", GGNET_TOKEN=key).returncode == 6
    (listed,) = json.loads(door.ggnet("token", "list", "-o", "json").stdout)["items"]
    assert listed["expiresAt"] > listed["createdAt"]
    assert door.ggnet("token", "list").stdout.splitlines()[1].split()[:4] == [listed["id"], "ci", "admin", "read"]
    rotated = door.ggnet("token", "rotate", listed["id"]).stdout.strip()
    assert door.ggnet("get", "machines", GGNET_TOKEN=key).returncode == 6
    assert door.ggnet("get", "machines", GGNET_TOKEN=rotated).returncode == 0
    assert door.ggnet("token", "revoke", listed["id"]).returncode == 0
    assert door.ggnet("get", "machines", GGNET_TOKEN=rotated).returncode == 6
    assert door.ggnet("token", "revoke", listed["id"]).returncode == 4


def test_ones_own_password(door: Served) -> None:
    user(door)
    log_in(door)
    assert door.ggnet("user", "password", stdin=f"wrong old one!\n{NEW}\n").returncode == 5
    assert door.ggnet("user", "password", stdin=f"{PASSWORD}\n{NEW}\n").returncode == 0
    assert door.ggnet("token", "list").returncode == 0
    assert door.ggnet("login", "--username", "ada", stdin=NEW).returncode == 0


def test_a_file_of_logins_that_is_not_right_is_refused(door: Served) -> None:
    user(door)
    log_in(door)
    logins(door).chmod(0o644)
    done = door.ggnet("token", "list")
    assert (done.returncode, "chmod 600" in done.stderr) == (6, True)
    logins(door).chmod(0o600)
    for text in ("", "[]", '{"current": "x"}', '{"current": "x", "contexts": {"x": {"a": 1}}}', "\0"):
        logins(door).write_text(text)
        done = door.ggnet("token", "list")
        assert (done.returncode, "damaged" in done.stderr) == (6, True)


@pytest.mark.parametrize(
    "line",
    [
        "login --server ftp://x --username a",
        "login --server http://user:secret@127.0.0.1:1 --username a",
        "login --context local --username a",
        "login --context ../x --username a",
        "login",
        "user create",
        "user create a --admin --role VIEWER",
        "token create x",
        "token create x --scope root",
        "token create x --scope read --expires soon",
        "context use nowhere",
    ],
)
def test_wrong_usage_is_said_in_a_sentence(door: Served, line: str) -> None:
    done = door.ggnet(*line.split(), stdin=PASSWORD)
    assert done.returncode in (1, 2), done
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert "rror" in done.stderr


def test_a_terminal_is_asked_without_echo(door: Served) -> None:
    ours, theirs = pty.openpty()
    here = environment(GGNET_URL=door.url, XDG_CONFIG_HOME=str(door.folder / "config"))
    user(door)
    with subprocess.Popen(
        command("login"), stdin=theirs, stdout=theirs, stderr=theirs, env=here, cwd="/", start_new_session=True
    ) as process:
        os.close(theirs)
        told = until(ours, "User name: ")
        os.write(ours, b"ada\n")
        told += until(ours, "Password: ")
        os.write(ours, PASSWORD.encode() + b"\n")
        told += until(ours, "context")
        assert process.wait(60) == 0
    os.close(ours)
    assert "as ada (VIEWER)" in told
    assert PASSWORD not in told


def until(terminal: int, word: str) -> str:
    told, deadline = "", time.monotonic() + 30
    while word not in told and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            told += os.read(terminal, 4096).decode()
    assert word in told, told
    return told


def test_a_redis_that_does_not_answer_stops_the_start(tmp_path: Path) -> None:
    done = ggnet(
        "api",
        GGNET_STATE_DIR=str(tmp_path),
        GGNET_LISTEN="127.0.0.1:0",
        GGNET_REDIS_URL=f"redis://:secret@127.0.0.1:{free_port()}/0",
    )
    assert (done.returncode, "GGNET_REDIS_URL" in done.stderr, "secret" in done.stderr) == (1, True, False), done.stderr


def test_a_setting_that_makes_no_sense_is_named(tmp_path: Path, warm: Warm) -> None:
    for name, value in (("GGNET_PROXIES", "everybody"), ("GGNET_REGISTRATION", "yes"), ("GGNET_LOCKOUT_FAILURES", "0")):
        done = warm.run(["api"], "", environment(GGNET_STATE_DIR=str(tmp_path), **{name: value}))
        assert (done.returncode, name in done.stderr) == (1, True), done.stderr
