"""The procedure of docs/deployment.md by its commands: backed up beside a working daemon, restored, and served again."""

import json
import os
import pty
import stat
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx
import pytest

from tests.api.served import SITE, environment, ggnet, machine, session, several
from tests.api.test_daemons import free_port, running
from tests.api.warm import Warm
from tests.servers import Postgres

Run = Callable[..., "subprocess.CompletedProcess[str]"]
KINDS = ("networks", "images", "machines", "sessions")


def asked(state: Path, port: int) -> httpx.Client:
    headers = {"Authorization": f"Bearer {(state / 'admin.token').read_text().strip()}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", headers=headers, timeout=60, trust_env=False)


def all_of(http: httpx.Client) -> dict[str, tuple[str, int]]:
    """uid and resourceVersion by key."""
    items = [item for kind in KINDS for item in http.get(f"/{kind}").raise_for_status().json()["items"]]
    return {f"{one['kind']}/{one['metadata']['name']}": _identity(one["metadata"]) for one in items}


def _identity(metadata: dict[str, str]) -> tuple[str, int]:
    return metadata["uid"], int(metadata["resourceVersion"])


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_daemon_goes_on_from_a_backup_where_the_first_was(
    tmp_path: Path, request: pytest.FixtureRequest, dialect: str
) -> None:
    port, origin, fresh = free_port(), tmp_path / "origin", tmp_path / "fresh"
    archive = tmp_path / "b.tar.gz"
    with running("api", folder=origin, port=port), asked(origin, port) as http:
        http.post("/apply", content=several(SITE, session(7))).raise_for_status()
        before = all_of(http)
        done = ggnet("backup", "create", str(archive), GGNET_STATE_DIR=str(origin))
        assert done.returncode == 0, done.stderr
        http.post("/apply", content=machine(9)).raise_for_status()
        token = http.headers["Authorization"].removeprefix("Bearer ")
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    here = dict[str, str]()
    if dialect == "postgresql":
        server: Postgres = request.getfixturevalue("postgres_server")
        here["GGNET_DATABASE_URL"] = anyio.run(server.create, f"restore-{uuid.uuid4()}")
    outputs = [
        ggnet("backup", "check", str(archive)),
        ggnet("backup", "restore", str(archive), "--yes", GGNET_STATE_DIR=str(fresh), **here),
    ]
    assert [one.returncode for one in outputs] == [0, 0], outputs
    assert not any(token in one.stdout + one.stderr for one in outputs)
    with running("api", folder=fresh, port=port, **here), asked(fresh, port) as http:
        assert http.headers["Authorization"] == f"Bearer {token}"
        assert all_of(http) == before
        newest = max(version for _, version in before.values())
        http.post("/apply", content=machine(11)).raise_for_status()
        with http.stream("GET", "/watch", params={"since": newest - 2}) as feed:
            data = (json.loads(line[6:]) for line in feed.iter_lines() if line.startswith("data: "))
            seen = [next(data) for _ in range(3)]
        assert [one["resourceVersion"] for one in seen] == [newest - 1, newest, newest + 1]
        assert seen[-1]["object"]["metadata"]["name"] == "pc11"


@pytest.fixture
def run(warm: Warm) -> Run:
    """The command in a process of its own, without the time that its start takes."""
    return lambda *words, **more: warm.run(list(words), "", environment(**more))


@pytest.fixture
def state(tmp_path: Path, run: Run) -> Path:
    folder = tmp_path / "state"
    assert run("migrate", GGNET_STATE_DIR=str(folder)).returncode == 0
    return folder


def test_a_daemon_that_runs_is_not_restored_under(state: Path, tmp_path: Path, run: Run) -> None:
    port, here, archive = free_port(), {"GGNET_STATE_DIR": str(state)}, str(tmp_path / "b.tar.gz")
    for words, told in ((["up", "--simulate"], "another controller runs"), (["api"], "stop the daemon first")):
        with running(*words, folder=state, port=port):
            if words == ["up", "--simulate"]:
                assert run("backup", "create", archive, **here).returncode == 0
            refused = run("backup", "restore", archive, "--yes", "--replace", **here)
            assert (refused.returncode, told in refused.stderr) == (1, True), refused.stderr


def test_a_restore_is_only_tried_until_it_is_confirmed(state: Path, tmp_path: Path, run: Run) -> None:
    archive, fresh = str(tmp_path / "b.tar.gz"), tmp_path / "fresh"
    assert run("backup", "create", archive, GGNET_STATE_DIR=str(state)).returncode == 0
    asked = run("backup", "restore", archive, GGNET_STATE_DIR=str(fresh))
    assert (asked.returncode, "--yes" in asked.stderr, fresh.exists()) == (2, True, False)


def test_a_backup_goes_through_a_pipe(state: Path, tmp_path: Path, warm: Warm) -> None:
    fresh = environment(GGNET_STATE_DIR=str(tmp_path / "fresh"))
    read, write = os.pipe()
    with (
        warm.start(["backup", "create", "-"], environment(GGNET_STATE_DIR=str(state)), stdout=write) as making,
        warm.start(["backup", "restore", "-", "--yes"], fresh, stdin=read, stderr=subprocess.PIPE) as restoring,
    ):
        os.close(write)
        os.close(read)
        assert making.wait(60) == 0
        assert restoring.wait(60) == 0, restoring.communicate()


def test_a_folder_keeps_the_newest(state: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in (1, 2, 3):
        (folder / f"ggnet-2026010{day}T000000Z.tar.gz").touch()
    assert run("backup", "create", str(folder), "--keep", "2", GGNET_STATE_DIR=str(state)).returncode == 0
    left = sorted(path.name for path in folder.iterdir())
    assert (len(left), left[0]) == (2, "ggnet-20260103T000000Z.tar.gz")


def test_what_cannot_be_done_is_said_with_what_to_do(state: Path, tmp_path: Path, run: Run) -> None:
    here, plain = {"GGNET_STATE_DIR": str(state)}, tmp_path / "plain"
    plain.write_text("diary")
    for words, code, told in (
        (("create", str(plain)), 1, "overwrites nothing"),
        (("create", str(tmp_path / "none" / "b")), 1, "cannot be written: No such file"),
        (("create", str(tmp_path / "new"), "--keep", "2"), 2, "--keep needs a folder"),
        (("check", str(plain)), 1, "damaged"),
        (("check", str(tmp_path / "none")), 1, "cannot be read: No such file"),
        (("restore", str(plain), "--yes"), 1, "damaged"),
    ):
        done = run("backup", *words, **here)
        assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    missing = run("backup", "create", str(tmp_path / "new"), GGNET_STATE_DIR=str(tmp_path / "nowhere"))
    assert (missing.returncode, "GGNET_STATE_DIR" in missing.stderr) == (1, True)
    assert not (tmp_path / "new").exists()


def test_a_terminal_is_not_written_over(state: Path, warm: Warm) -> None:
    master, slave = pty.openpty()
    surroundings = environment(GGNET_STATE_DIR=str(state))
    with warm.start(["backup", "create", "-"], surroundings, stdout=slave, stderr=subprocess.PIPE) as done:
        assert (done.wait(60), "terminal" in done.communicate()[1]) == (2, True)
    os.close(slave)
    os.close(master)
