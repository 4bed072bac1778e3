"""The daemons as they are started and stopped: by their command, and by a signal."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from api.serve import bind
from tests.api.served import SITE, command, environment, ggnet, session, warm
from tests.api.warm import Started
from tests.controller.adapters.test_sources import commit, git


def free_port() -> int:
    sock = bind("127.0.0.1:0")
    port: int = sock.getsockname()[1]
    sock.close()
    return port


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


Daemon = subprocess.Popen[str] | Started


@contextmanager
def running(*words: str, folder: Path, port: int, **more: str) -> Iterator[Daemon]:
    """The daemon, once it answers; what still runs at the end is killed."""
    with _answering(warm().start(words, _place(folder, port, more), stderr=subprocess.PIPE), port) as one:
        yield one


@contextmanager
def cold(*words: str, folder: Path, port: int) -> Iterator[Daemon]:
    """The same, started as people start it."""
    here, null = _place(folder, port, {}), subprocess.DEVNULL
    one = subprocess.Popen(command(*words), stdout=null, stderr=subprocess.PIPE, text=True, env=here)
    with _answering(one, port) as daemon:
        yield daemon


def _place(folder: Path, port: int, more: Mapping[str, str]) -> dict[str, str]:
    here = {"GGNET_STATE_DIR": str(folder), "GGNET_LISTEN": f"127.0.0.1:{port}", "PYTHONUNBUFFERED": "1"}
    return environment(**here, **more)


@contextmanager
def _answering(one: Daemon, port: int) -> Iterator[Daemon]:
    with one:
        try:
            until(lambda: _answers(port, one))
            yield one
        finally:
            one.kill()


def _answers(port: int, daemon: Daemon) -> bool:
    """It listens first of all, and a request waits until it serves."""
    assert daemon.poll() is None, daemon.communicate()
    try:
        httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, verify=False, timeout=60)
    except httpx.TransportError:
        return False
    return True


def test_a_simulated_server_serves_a_session_and_stops_when_told(tmp_path: Path) -> None:
    port = free_port()
    here = {"GGNET_STATE_DIR": str(tmp_path), "GGNET_LISTEN": f"127.0.0.1:{port}"}
    with cold("up", "--simulate", folder=tmp_path, port=port) as daemon:
        (tmp_path / "pool" / "imports").mkdir(parents=True, exist_ok=True)
        (tmp_path / "pool" / "imports" / "win11.raw").write_bytes(bytes(1 << 20))
        for manifests in (SITE, session(7)):
            applied = ggnet("apply", "-f", "-", "--wait", "--timeout", "30s", stdin=manifests, **here)
            assert applied.returncode == 0, applied.stderr
        assert "simulated" in ggnet("why", "session/pc07", **here).stdout
        assert ggnet("plan", "--detailed-exitcode", **here).returncode == 0
        second = ggnet("up", "--simulate", **here)
        assert (second.returncode, "Address already in use" in second.stderr) == (1, True)
        locked = ggnet("controller", "--simulate", **here)
        assert (locked.returncode, "another controller runs" in locked.stderr) == (1, True)
        token = (tmp_path / "admin.token").read_text().strip()
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http,
            http.stream("GET", "/api/v1/watch", headers={"Authorization": f"Bearer {token}"}) as feed,
        ):
            lines = feed.iter_lines()
            assert next(lines) == ": watching"
            daemon.send_signal(signal.SIGTERM)
            assert [line for line in lines if line] == []
        assert daemon.wait(60) == 0
        assert daemon.stderr is not None
        assert "Traceback" not in daemon.stderr.read()


def test_what_is_forced_over_a_repository_is_drift_until_its_next_reading(tmp_path: Path) -> None:
    port, work, state = free_port(), tmp_path / "work", tmp_path / "state"
    here = {"GGNET_STATE_DIR": str(state), "GGNET_LISTEN": f"127.0.0.1:{port}"}
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    commit(work, {"site.yaml": SITE})
    with running("up", "--simulate", folder=state, port=port, GGNET_MANIFESTS=str(work), GGNET_SOURCE_SECONDS="1") as daemon:
        token = (state / "admin.token").read_text().strip()
        bearer = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", headers=bearer, trust_env=False, timeout=60) as http:
            until(lambda: http.get("/machines/pc07").is_success)
            hand = {"metadata": {"annotations": {"by": "hand"}}}
            assert http.patch("/machines/pc07", json=hand).json()["error_code"] == "managed"
            http.post("/machines/pc07/suspend").raise_for_status()
            http.patch("/machines/pc07", json=hand, params={"force": "true"}).raise_for_status()
            shown = ggnet("drift", **here).stdout
            assert "Machine/pc07 overridden: changed by api:admin" in shown
            assert "until it is resumed" in shown
            assert http.get("/machines/pc07").json()["metadata"]["overriddenBy"] == "api:admin"
            http.post("/machines/pc07/resume").raise_for_status()
            until(lambda: "overriddenBy" not in http.get("/machines/pc07").json()["metadata"])
            assert http.get("/machines/pc07").json()["metadata"]["annotations"] == {}
            told = ggnet("events", "machine/pc07", **here).stdout
            assert told.index("Overridden") < told.index("OverrideEnded")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0


def test_the_api_alone_shows_that_no_controller_is_there(tmp_path: Path) -> None:
    port = free_port()
    here = {"GGNET_STATE_DIR": str(tmp_path), "GGNET_LISTEN": f"127.0.0.1:{port}"}
    with cold("api", folder=tmp_path, port=port) as daemon:
        assert ggnet("apply", "-f", "-", stdin=SITE, **here).returncode == 0
        assert "ControllerGone" in ggnet("get", "network/main", "-o", "yaml", **here).stdout
        planned = ggnet("plan", **here)
        assert (planned.returncode, "not looked at its host yet" in planned.stderr) == (1, True)
        daemon.send_signal(signal.SIGINT)
        assert daemon.wait(60) == 0


def test_the_api_sends_webhooks_and_a_test_says_what_the_receiver_answered(tmp_path: Path) -> None:
    port, got = free_port(), list[bytes]()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200 if self.path == "/good" else 500)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    here = {"GGNET_STATE_DIR": str(tmp_path), "GGNET_LISTEN": f"127.0.0.1:{port}"}
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver,
        running("api", folder=tmp_path, port=port, GGNET_WEBHOOK_ALLOW="127.0.0.1/32") as daemon,
    ):
        threading.Thread(target=receiver.serve_forever).start()
        url = f"http://127.0.0.1:{receiver.server_port}"
        token = (tmp_path / "admin.token").read_text().strip()
        with httpx.Client(headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60) as http:
            wanted = [{"url": f"{url}/{way}", "events": ["object-changed"]} for way in ("good", "bad")]
            ids = [http.post(f"http://127.0.0.1:{port}/api/v1/webhooks", json=one).json()["id"] for one in wanted]
            http.post(f"http://127.0.0.1:{port}/api/v1/apply", content=SITE).raise_for_status()
        good, bad = (ggnet("webhook", "test", one, **here) for one in ids)
        assert (good.returncode, good.stdout) == (0, "delivered: the receiver answered 200\n"), good.stderr
        assert (bad.returncode, "not delivered: answered 500" in bad.stderr) == (1, True)
        deadline = time.monotonic() + 20
        while sum(b'"object-changed"' in body for body in got) < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert b'"name":"pc07"' in b"".join(got)
        receiver.shutdown()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
        assert daemon.stderr is not None
        said = daemon.stderr.read()
        assert "Traceback" not in said
        assert "whsec_" not in said
        assert "/bad" not in said


def test_migrate_says_whether_it_is_needed_and_does_it(tmp_path: Path) -> None:
    here = {"GGNET_STATE_DIR": str(tmp_path)}
    assert [ggnet("migrate", *more, **here).returncode for more in (["--check"], [], ["--check"], [])] == [2, 0, 0, 0]


def test_a_controller_alone_loads_nothing_of_the_rest_door_and_of_services_that_nobody_configured(tmp_path: Path) -> None:
    """It has the privileges; and its start is what PCs wait for after a crash."""
    told = [sys.executable, "-X", "importtime", *command("controller", "--simulate")[1:]]
    with subprocess.Popen(told, stderr=subprocess.PIPE, text=True, env=environment(GGNET_STATE_DIR=str(tmp_path))) as one:
        assert one.stderr is not None
        lines = []
        for line in one.stderr:
            lines.append(line)
            if '"event":"pass"' in line:
                break
        one.terminate()
        one.stderr.read()
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith("import time:")}
    idle = {"fastapi", "starlette", "uvicorn", "redis", "limits", "asyncpg"}
    assert loaded & {*idle, "sqlalchemy"} == {"sqlalchemy"}


def test_what_is_wrong_with_the_environment_is_said_by_name(tmp_path: Path) -> None:
    state = str(tmp_path)
    unreachable = "postgresql+asyncpg://u:hush@127.0.0.1:1/x"
    for variable, value, told in (
        ("GGNET_SITE", "A B", "GGNET_SITE: 'A B' is not a name"),
        ("GGNET_LISTEN", "everywhere", "GGNET_LISTEN 'everywhere' is not an address"),
        ("GGNET_DATABASE_URL", unreachable, "cannot be used"),
    ):
        done = ggnet("api", **{"GGNET_STATE_DIR": state, "GGNET_LISTEN": "127.0.0.1:0", variable: value})
        assert done.returncode == 1, variable
        assert told in done.stderr, done.stderr
        assert "hush" not in done.stderr


def test_doctor_says_what_is_missing_and_fails(tmp_path: Path) -> None:
    missing = {"GGNET_CONFIGFS": str(tmp_path), "GGNET_TFTP_ROOT": str(tmp_path / "no")}
    done = ggnet("doctor", GGNET_STATE_DIR=str(tmp_path), **missing)
    assert done.returncode == 1
    assert f"{tmp_path}/target is not there" in done.stdout
