"""What is no HTTP, and what never becomes a request."""

import time
from collections.abc import Iterator

import pytest

from api.protocol import HEAD_BYTES, Protocol
from tests.api.raw import Heard, closed, connected, heard, said
from tests.api.served import NETWORK, Served, serving
from tests.api.warm import Warm


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    """The head of a request has a second."""
    patience, Protocol.head_seconds = Protocol.head_seconds, 1.0
    try:
        with serving(tmp_path_factory.mktemp("protocol"), warm) as served:
            yield served
    finally:
        Protocol.head_seconds = patience


def refused(answer: Heard, status: int, code: str) -> None:
    problem = answer.problem()
    assert (answer.status, problem["status"], problem["error_code"]) == (status, status, code)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert (answer.headers["connection"], answer.headers["x-content-type-options"]) == ("close", "nosniff")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nBad\x00: y\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=range(12),
)
def test_what_is_no_request_is_answered_with_a_problem(door: Served, request_bytes: bytes) -> None:
    refused(said(door.url, request_bytes), 400, "malformed")


def test_an_address_with_bad_percent_encoding_is_nowhere(door: Served) -> None:
    for path in (b"/%", b"/%zz", b"/api/v1/machines/%ff%fe", b"/api/v1/machines/%c3%28", b"/%00", b"/api/v1/%2e%2e/%2e%2e"):
        request = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + door.token.encode() + b"\r\n\r\n"
        answer = said(door.url, request)
        assert (answer.status, answer.problem()["error_code"]) == (404, "not_found"), path
        assert answer.body.isascii() or answer.body.decode().isprintable()


def test_a_head_in_drops_is_refused_in_time(door: Served) -> None:
    answer = said(door.url, b"GET /healthz HTTP/1.1\r\n", *[b"X: y\r\n"] * 90, pause=0.1)
    refused(answer, 408, "slow_head")
    assert answer.sent < 90, "of the drops"


def test_who_says_nothing_is_not_kept(door: Served) -> None:
    with connected(door.url) as sock:
        assert closed(sock), "before this side gives up"


def test_a_head_without_end_is_refused(door: Served) -> None:
    endless = b"X-Long: " + b"x" * 4096 + b"\r\n"
    refused(said(door.url, b"GET /healthz HTTP/1.1\r\nHost: x\r\n", *[endless] * 200), 431, "head_too_large")
    refused(said(door.url, b"GET /", *[b"x" * HEAD_BYTES] * 8), 431, "head_too_large")


def test_who_asks_slowly_but_whole_is_answered(door: Served) -> None:
    with connected(door.url) as sock:
        for _ in range(2):
            sock.sendall(b"GET /healthz HTTP/1.1\r\n")
            time.sleep(0.2)
            sock.sendall(b"Host: x\r\n\r\n")
            assert heard(sock, time.monotonic()).status == 200
            time.sleep(1.2)  # longer than a head may take: a connection between two requests is not one that is slow


def test_a_long_answer_outlives_the_time_of_a_head(door: Served) -> None:
    with door.http as http, http.stream("GET", "/api/v1/watch") as feed:
        lines = feed.iter_lines()
        assert next(lines) == ": watching"
        time.sleep(1.2)
        door.apply(NETWORK)
        assert next(line for line in lines if line.startswith("event: ")) == "event: ADDED"
