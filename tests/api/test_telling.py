"""Traces and failures are told to those who were asked for, by the real libraries, and without a secret."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.api.served import SITE, environment, ggnet
from tests.api.test_daemons import free_port, running

SECRET = "hunter22hunter22"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Receiver:
    """What was sent to an address of loopback: path and body."""

    port: int
    taken: list[tuple[str, bytes]] = field(default_factory=list)


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            receiver.taken.append((self.path, gzip.decompress(body) if packed else body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def test_a_request_is_a_span_of_its_callers_trace(tmp_path: Path) -> None:
    with receiving() as receiver:
        port = free_port()
        more = {"GGNET_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}/"}
        with running("api", folder=tmp_path, port=port, **more) as daemon:
            token = (tmp_path / "admin.token").read_text().strip()
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:
                http.headers["Authorization"] = f"Bearer {token}"
                http.headers["traceparent"] = f"00-{TRACE}-b7ad6b7169203331-01"
                http.get(f"/api/v1/machines/nobody?token={SECRET}", headers={"X-Request-ID": "r1", "Cookie": f"a={SECRET}"})
                http.get("/api/v1/machines", headers={"Authorization": f"Bearer {SECRET}"})
            daemon.terminate()
            assert daemon.wait(60) == 0
    spans = [span for path, body in receiver.taken for span in _spans(path, body)]
    mine = {span["name"]: span for span in spans if span["trace"] == TRACE}
    read = mine["GET /api/v1/machines/{name}"]["facts"]
    assert read == {
        "http.request.method": "GET",
        "http.route": "/api/v1/machines/{name}",
        "http.response.status_code": 404,
        "ggnet.request_id": "r1",
        "enduser.id": "admin",
    }
    assert mine["GET /api/v1/machines"]["facts"]["http.response.status_code"] == 401
    sent = b"".join(body for _, body in receiver.taken)
    for secret in (SECRET, token, "nobody"):
        assert secret.encode() not in sent, secret


def _spans(path: str, body: bytes) -> Iterator[dict[str, Any]]:
    assert path == "/v1/traces"
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                facts = {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
                yield {"name": span.name, "trace": span.trace_id.hex(), "facts": facts}


_FAILING = f"""
import structlog
from controller.bootstrap import reports
from controller.settings import Settings

def fail(password):
    raise ValueError(f"cannot reach postgresql://ggnet:{{password}}@db/x with Bearer {{password}}")

with reports.telling(Settings(), "1.0", "the-admin-token"):
    try:
        fail("{SECRET}")
    except ValueError as error:
        log = structlog.get_logger(part="api", request_id="r1", route="/x", token="the-admin-token", said="the-admin-token")
        log.error("request failed", exc_info=error)
        log.warning("not this", exc_info=error)
"""


def test_a_failure_is_reported_without_variables_and_secrets(tmp_path: Path) -> None:
    with receiving() as receiver:
        dsn = f"http://dsnkey0123456789@127.0.0.1:{receiver.port}/7"
        done = _python(_FAILING, GGNET_STATE_DIR=str(tmp_path), GGNET_SENTRY_DSN=dsn)
    assert done.returncode == 0, done.stderr
    ((path, body),) = receiver.taken
    assert path == "/api/7/envelope/"
    event = json.loads(body.split(b"\n")[2])
    (failure,) = event["exception"]["values"]
    assert (failure["type"], failure["value"]) == ("ValueError", "cannot reach postgresql://ggnet:***@db/x with Bearer ***")
    assert failure["stacktrace"]["frames"][-1]["function"] == "fail"
    assert event["tags"] == {"event": "request failed", "part": "api", "request_id": "r1", "route": "/x"}
    assert (event["release"], event["server_name"]) == ("ggnet@1.0", "default")
    for text in (body.decode(), done.stderr):
        assert SECRET not in text
        assert "the-admin-token" not in text
    assert "dsnkey" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "module", "extra"),
    [
        ("GGNET_OTLP_ENDPOINT", "http://127.0.0.1:1", "opentelemetry.sdk", "otel"),
        ("GGNET_SENTRY_DSN", f"http://{SECRET}@127.0.0.1:1/1", "sentry_sdk", "sentry"),
    ],
)
def test_what_is_asked_for_and_not_installed_is_an_error_at_start(
    tmp_path: Path, variable: str, value: str, module: str, extra: str
) -> None:
    """An installation without it: the import finds nothing there."""
    program = f"import sys; sys.modules[{module!r}] = None; sys.argv = ['ggnet', 'controller', '--simulate']\n"
    program += "from api.cli.main import main; main()"
    done = _python(program, GGNET_STATE_DIR=str(tmp_path), **{variable: value})
    assert done.returncode == 1
    assert variable in done.stderr
    assert f"ggnet[{extra}]" in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize("verb", ["up", "api", "controller"])
def test_a_password_file_that_is_not_there_is_an_error_at_start(tmp_path: Path, verb: str) -> None:
    more = {"GGNET_REDIS_URL": "redis://127.0.0.1:1/0", "GGNET_REDIS_PASSWORD_FILE": str(tmp_path / "none")}
    done = ggnet(verb, GGNET_STATE_DIR=str(tmp_path), GGNET_LISTEN="127.0.0.1:0", **more)
    assert (done.returncode, "GGNET_REDIS_PASSWORD_FILE" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    assert "bug" not in done.stderr


def test_a_dsn_that_is_none_is_an_error_at_start(tmp_path: Path) -> None:
    done = ggnet("controller", "--simulate", GGNET_STATE_DIR=str(tmp_path), GGNET_SENTRY_DSN=f"nonsense-{SECRET}")
    assert (done.returncode, "GGNET_SENTRY_DSN is no DSN" in done.stderr, SECRET in done.stderr) == (1, True, False)


def test_what_is_not_asked_for_is_not_loaded() -> None:
    program = (
        "import sys; from controller.bootstrap import daemon, doors, reports\n"
        "from controller.settings import Settings; import api.app\n"
        "with reports.telling(Settings(), '1.0') as traces: assert traces is None\n"
        "extras = ('opentelemetry.sdk', 'sentry_sdk', 'redis', 'limits', 'alembic')\n"
        "print([name for name in extras if name in sys.modules])"
    )
    done = _python(program)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_log_of_a_daemon_has_a_line_a_request_and_no_secret(tmp_path: Path) -> None:
    port = free_port()
    with running("api", folder=tmp_path, port=port) as daemon:
        token = (tmp_path / "admin.token").read_text().strip()
        here = {"GGNET_STATE_DIR": str(tmp_path), "GGNET_LISTEN": f"127.0.0.1:{port}"}
        assert ggnet("apply", "-f", "-", stdin=SITE, **here).returncode == 0
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:
            http.get(f'/api/v1/machines/a%0a{{"event":"forged"}}?token={SECRET}', headers={"X-Request-ID": "r1"})
            http.post("/api/v1/auth/login", data={"username": "ada", "password": SECRET}, headers={"User-Agent": SECRET})
            http.get("/api/v1/machines", headers={"Authorization": f"Bearer {SECRET}", "X-Request-ID": f"a b {SECRET}"})
            http.get("/healthz")
        daemon.terminate()
        assert daemon.wait(60) == 0
        assert daemon.stderr is not None
        text = daemon.stderr.read()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    asked = [line for line in lines if line["event"] == "request"]
    apply, read, *_ = (line for line in asked if line["route"] != "none")
    assert (apply["method"], apply["route"], apply["status"], apply["who"]) == ("POST", "/api/v1/apply", 200, "admin")
    assert 0 < apply["seconds"] < 30
    assert apply["address"] == "127.0.0.1"
    assert (read["request_id"], read["route"], read["status"], read["who"]) == ("r1", "/api/v1/machines/{name}", 401, None)
    assert not [line for line in asked if line["route"] in ("/healthz", "/readyz")]
    for secret in (SECRET, token, "forged"):
        assert secret not in text, secret


def test_a_log_that_nobody_reads_stops_nobody(tmp_path: Path) -> None:
    port = free_port()
    with running("api", folder=tmp_path, port=port) as daemon:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:
            answers = {http.get("/api/v1/machines", headers={"X-Request-ID": "x" * 64}).status_code for _ in range(600)}
        assert answers == {401}, "600 lines are twice what a pipe holds"
        daemon.terminate()
        assert daemon.wait(60) == 0


def _python(program: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**more),
        check=False,
    )
