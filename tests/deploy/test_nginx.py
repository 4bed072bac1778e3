"""The proxy's example, started as it stands: what reaches the API, and what does not."""

import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.deploy.echo import Echo, echoing
from tests.servers import Nginx, free_port, nginx

NAME = "ggnet.internal"


def trusting(proxy: Nginx) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(proxy.secrets / "tls_certificate"))


def connected(proxy: Nginx) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.https), timeout=20)


def client(proxy: Nginx) -> httpx.Client:
    return httpx.Client(verify=trusting(proxy), timeout=60, trust_env=False)


def ask(proxy: Nginx, path: str, method: str = "GET", **more: Any) -> httpx.Response:
    """By its name, which its certificate has, at the address where it is here."""
    headers = {"Host": NAME, **more.pop("headers", {})}
    with client(proxy) as http:
        url = f"https://127.0.0.1:{proxy.https}{path}"
        return http.request(method, url, headers=headers, extensions={"sni_hostname": NAME}, **more)


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with echoing() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(echo: Echo) -> Iterator[Nginx]:
    with nginx([echo.port]) as running:
        yield running


def heard(response: httpx.Response) -> dict[str, list[str]]:
    """The headers that reached the API, by name in small letters."""
    found: dict[str, list[str]] = {}
    for name, value in response.json()["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


def test_the_configuration_is_taken_without_a_warning(proxy: Nginx) -> None:
    code, said = proxy.check()
    assert (code, "test is successful" in said, "[warn]" in said) == (0, True, False), said


def test_it_runs_without_rights(proxy: Nginx) -> None:
    status = f"/proc/{proxy.running[0].pid}/status"
    with open(status) as file:  # noqa: PTH123 a file of the kernel
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert lines["CapEff"] == "0" * 16
    assert "0" not in lines["Uid"].split()


def test_what_a_stranger_says_of_where_he_comes_from_is_overwritten(proxy: Nginx) -> None:
    spoofed = {
        "X-Forwarded-For": "203.0.113.9, 127.0.0.1",
        "X-Forwarded-Proto": "gopher",
        "X-Forwarded-Host": "evil",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
    }
    found = heard(ask(proxy, "/x", headers=spoofed))
    assert found["x-forwarded-for"] == ["127.0.0.1"]
    assert found["x-forwarded-proto"] == ["https"]
    assert found["x-real-ip"] == ["127.0.0.1"]
    assert found["host"] == [NAME]
    assert not {"forwarded", "x-forwarded-host"} & found.keys()


def test_a_request_id_goes_through_if_it_may_stand_in_a_log(proxy: Nginx) -> None:
    assert heard(ask(proxy, "/x", headers={"X-Request-ID": "ci-4711"}))["x-request-id"] == ["ci-4711"]
    for bad in ('a"b', "a b", "x" * 65, ""):
        (made,) = heard(ask(proxy, "/x", headers={"X-Request-ID": bad}))["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", made)


def test_the_log_has_the_path_and_nothing_of_the_query(proxy: Nginx) -> None:
    ask(proxy, "/logged?q=hush", headers={"Authorization": "Bearer hush2", "X-Request-ID": "find-me"})
    log = proxy.log_with('"path":"/logged"', '"request_id":"find-me"')
    assert "hush" not in log


def test_http_is_sent_to_https_under_our_own_name(proxy: Nginx) -> None:
    with httpx.Client(trust_env=False, timeout=60) as http:
        answer = http.post(f"http://127.0.0.1:{proxy.http}/api/v1/apply?x=1", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers["Location"]) == (308, f"https://{NAME}/api/v1/apply?x=1")


def test_only_tls_1_2_and_newer_is_spoken(proxy: Nginx) -> None:
    versions = {}
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(proxy)
        context.minimum_version = context.maximum_version = version
        with connected(proxy) as raw, context.wrap_socket(raw, server_hostname=NAME) as tls:
            versions[version] = tls.version()
            assert "GCM" in tls.cipher()[0] or "CHACHA20" in tls.cipher()[0]  # type: ignore[index]
    assert list(versions.values()) == ["TLSv1.2", "TLSv1.3"]
    old = ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.https}", "-servername", NAME, "-tls1_1"]
    refused = subprocess.run([*old, "-cipher", "ALL:@SECLEVEL=0"], input=b"", capture_output=True, timeout=20, check=False)
    assert refused.returncode != 0
    assert b"protocol version" in refused.stderr


def test_another_name_gets_no_certificate(proxy: Nginx) -> None:
    for name in ("other.internal", None):
        context = trusting(proxy)
        context.check_hostname = False
        with (
            socket.create_connection(("127.0.0.1", proxy.https)) as raw,
            pytest.raises(ssl.SSLError, match=r"(?i)alert|unrec"),
        ):
            context.wrap_socket(raw, server_hostname=name)


def test_the_headers_of_the_api_are_not_doubled(proxy: Nginx) -> None:
    answer = ask(proxy, "/x")
    assert answer.headers.get_list("strict-transport-security") == ["max-age=1"]
    assert answer.headers["server"] == "nginx"


def test_a_feed_arrives_as_it_is_sent(proxy: Nginx, echo: Echo) -> None:
    url = f"https://127.0.0.1:{proxy.https}/api/v1/watch"
    delays = []
    with (
        client(proxy) as http,
        http.stream("GET", url, headers={"Host": NAME}, extensions={"sni_hostname": NAME}) as feed,
    ):
        lines = (line for line in feed.iter_lines() if line)
        for number in range(3):
            assert next(lines) == f"data: {number}"
            delays.append(time.monotonic() - echo.lines.get(timeout=5))
        echo.go.set()
        assert next(lines) == "data: last"
        delays.append(time.monotonic() - echo.lines.get(timeout=5))
    assert max(delays) < 5


@contextmanager
def upgraded(proxy: Nginx, protocol: str) -> Iterator[Any]:
    context = trusting(proxy)
    with (
        connected(proxy) as raw,
        context.wrap_socket(raw, server_hostname=NAME) as tls,
    ):
        head = f"GET /api/v1/ws HTTP/1.1\r\nHost: {NAME}\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n"
        tls.sendall((head + "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n").encode())
        yield tls


def test_a_websocket_is_let_through(proxy: Nginx) -> None:
    with upgraded(proxy, "websocket") as tls:
        assert tls.recv(4096).startswith(b"HTTP/1.1 101 ")
        tls.sendall(b"hello\n")
        assert tls.recv(4096) == b"HELLO\n"


def test_no_other_protocol_is_changed_to(proxy: Nginx) -> None:
    with upgraded(proxy, "h2c") as tls:
        answer = tls.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"Upgrade"' not in answer


def test_a_body_that_is_too_large_is_refused_as_the_api_would(proxy: Nginx) -> None:
    assert ask(proxy, "/x", "POST", content=bytes(16 << 20)).status_code == 200
    answer = ask(proxy, "/x", "POST", content=bytes(18 << 20))
    assert (answer.status_code, answer.json()["error_code"]) == (413, "too_large")


def test_a_piece_of_an_upload_goes_through_as_large_as_it_is_and_as_it_comes(proxy: Nginx, echo: Echo) -> None:
    """Gathered first it would be on this disk twice, and whoever sends it would hear of nothing until its end."""
    first = list[float]()

    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield bytes(1 << 20)
        first.append(echo.lines.get(timeout=20))
        yield bytes(1 << 20)

    given = {"Content-Type": "application/offset+octet-stream", "Content-Length": str(21 << 20)}
    answer = ask(proxy, f"/api/v1/uploads/{'0' * 32}", "PATCH", content=pieces(), headers=given)
    assert (answer.status_code, len(first)) == (200, 1)
    assert heard(answer)["x-forwarded-for"] == ["127.0.0.1"]
    assert ask(proxy, "/api/v1/uploadsx", "POST", content=bytes(18 << 20)).status_code == 413
    while not echo.lines.empty():
        echo.lines.get()


def test_a_request_that_is_none_is_refused_as_the_api_would(proxy: Nginx) -> None:
    with httpx.Client(trust_env=False, timeout=60) as http:
        plain = http.get(f"http://127.0.0.1:{proxy.https}/", headers={"Host": NAME})
    assert plain.status_code == 400
    long = ask(proxy, "/x?" + "a" * 40_000)
    assert (long.status_code, long.headers["content-type"]) == (414, "application/problem+json")


def test_one_replica_is_enough_and_without_any_it_says_so() -> None:
    with echoing() as one, nginx([free_port(), one.port]) as proxy:
        assert [ask(proxy, "/x").status_code for _ in range(6)] == [200] * 6
        assert ask(proxy, "/x", "POST", content=b"x").status_code == 200
    with nginx([free_port(), free_port()]) as proxy:
        answer = ask(proxy, "/x", headers={"X-Request-ID": "ci-1"})
    problem = answer.json()
    assert (answer.status_code, answer.headers["retry-after"]) == (502, "2")
    assert answer.headers["content-type"] == "application/problem+json"
    members = {"type", "title", "status", "detail", "error_code", "status_code", "timestamp", "request_id", "errors"}
    assert (problem.keys(), problem["error_code"], problem["request_id"]) == (members, "unavailable", "ci-1")
