"""What comes in is bounded in size and in time, and refused before it is gathered."""

import time
from collections.abc import Iterator

import httpx
import pytest

from api.edge.bounds import Bounds
from tests.api.raw import Heard, closed, connected, heard, said
from tests.api.served import SITE, Served, machine, serving
from tests.api.warm import Warm

_LATE = 15  # seconds: it waits for the default of nobody, and the machine may be busy
QUICK = Bounds(body=1 << 20, drain=1 << 20, linger=0.5, stall=0.4, upload=1.0, answer=1.0)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    """A door with little patience."""
    with serving(tmp_path_factory.mktemp("quick"), warm, bounds=QUICK) as served:
        served.apply(SITE)
        yield served


def head(door: Served, *lines: str) -> bytes:
    told = ("POST /api/v1/apply HTTP/1.1", "Host: x", f"Authorization: Bearer {door.token}", *lines)
    return "\r\n".join((*told, "", "")).encode()


def refused(answer: Heard, status: int, code: str) -> None:
    problem = answer.problem()
    assert (answer.status, problem["error_code"], problem["status"]) == (status, code, status)
    assert answer.headers["connection"] == "close"


def test_a_gigabyte_is_refused_before_a_byte_of_it_was_read(quick: Served) -> None:
    answer = said(quick.url, head(quick, f"Content-Length: {1 << 30}"))
    refused(answer, 413, "too_large")
    assert "1 MiB" in answer.problem()["detail"], "not that it was waited for"


def test_who_sends_a_gigabyte_all_the_same_hears_why_and_is_cut(quick: Served) -> None:
    parts = [b"#" * (1 << 20)] * 1024
    answer = said(quick.url, head(quick, f"Content-Length: {1 << 30}"), *parts)
    refused(answer, 413, "too_large")
    assert answer.sent < 64, "parts, and what the kernel holds of them"


def test_an_endless_chunked_body_is_cut(quick: Served) -> None:
    chunk = b"10000\r\n" + b"x" * (1 << 16) + b"\r\n"
    refused(said(quick.url, head(quick, "Transfer-Encoding: chunked"), *[chunk] * 400), 413, "too_large")


def test_a_body_without_the_right_to_send_it_is_not_read(quick: Served) -> None:
    lines = (b"POST /api/v1/apply HTTP/1.1", b"Host: x", b"Content-Length: 1000000", b"", b"")
    answer = said(quick.url, b"\r\n".join(lines))
    assert (answer.status, answer.headers["connection"]) == (401, "close")


def test_a_body_that_pauses_is_refused_in_time(quick: Served) -> None:
    answer = said(quick.url, head(quick, "Content-Length: 100"), b"kind:")
    refused(answer, 408, "slow_body")
    assert 0.3 < answer.seconds < _LATE


def test_a_body_in_drops_is_refused_in_time(quick: Served) -> None:
    answer = said(quick.url, head(quick, "Content-Length: 100"), *[b"#"] * 90, pause=0.1)
    refused(answer, 408, "slow_body")
    assert answer.sent < 90, "of the drops"


def test_a_body_that_ends_with_the_connection_breaks_nothing(quick: Served) -> None:
    with connected(quick.url) as sock:
        sock.sendall(head(quick, "Content-Length: 100") + b"kind: ")
    assert httpx.get(f"{quick.url}/healthz", trust_env=False, timeout=60).status_code == 200


def test_a_packed_body_is_refused_by_name(quick: Served) -> None:
    with quick.http as http:
        answer = http.post("/api/v1/apply", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error_code"]) == (415, "unsupported_media_type")
    assert answer.headers["accept-encoding"] == "identity"


def test_a_body_of_another_kind_is_refused_by_name(quick: Served) -> None:
    with quick.http as http:
        for kind in ("multipart/form-data; boundary=x", "image/png", "application/xml", "text/html"):
            answer = http.post("/api/v1/machines", content=machine(9), headers={"Content-Type": kind})
            assert (answer.status_code, answer.json()["error_code"]) == (415, "unsupported_media_type"), kind
        for kind in ("application/json", "application/yaml", "text/plain", "application/x-www-form-urlencoded", ""):
            given = {"Content-Type": kind} if kind else {}
            asked = {"dryRun": "true"}
            answer = http.post("/api/v1/machines", params=asked, content=machine(9), headers=given)
            assert answer.status_code in (201, 422), (kind, answer.text)  # YAML is no JSON


def test_a_connection_that_was_answered_well_is_used_again(quick: Served) -> None:
    with connected(quick.url) as sock:
        sock.sendall(head(quick, "Content-Length: 2") + b"{}")
        assert heard(sock, time.monotonic()).status == 422
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert heard(sock, time.monotonic()).status == 200
        assert closed(sock)
