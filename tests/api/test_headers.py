"""What stands in the head of an answer: for browsers, for caches, for those who ask again."""

import gzip
import json
import re
import time
from collections.abc import Iterator

import httpx
import pytest

from api.edge.cors import Origins
from api.edge.packing import wanted
from api.problems import MEDIA_TYPE
from tests.api.raw import connected, heard, said
from tests.api.served import SITE, Served, machine, serving, several
from tests.api.warm import Warm

PANEL = "https://panel.example:8443"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("headers"), warm, cors_origins=f"{PANEL}, http://localhost:3000") as served:
        served.lead()
        served.apply(several(SITE, *(machine(100 + number) for number in range(50))))
        yield served


def test_every_answer_tells_a_browser_to_do_nothing_with_it(door: Served) -> None:
    with door.http as http:
        for path in ("/healthz", "/api/v1/machines", "/api/v1/machines/nobody", "/nowhere", "/metrics", "/openapi.json"):
            headers = http.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
            assert "camera=()" in headers["permissions-policy"]
            assert headers["cache-control"] in ("no-store", "private, no-cache")
            assert "server" not in headers
            assert "strict-transport-security" not in headers, "never over plain HTTP (RFC 6797, 7.2)"


def test_a_page_of_a_listed_origin_may_read_the_answer_and_others_may_not(door: Served) -> None:
    with door.http as http:
        for origin, allowed in ((PANEL, True), ("http://localhost:3000", True), ("https://panel.example", False)):
            for path in ("/api/v1/machines", "/nowhere"):
                headers = http.get(path, headers={"Origin": origin}).headers
                assert headers.get("access-control-allow-origin") == (origin if allowed else None)
                assert "access-control-allow-credentials" not in headers
                assert "Origin" in headers["vary"]
        for origin in ("null", "*", f"{PANEL}.evil.example", PANEL.upper(), f"{PANEL}/"):
            assert "access-control-allow-origin" not in http.get("/healthz", headers={"Origin": origin}).headers


def test_a_browsers_question_is_answered_without_a_token_for_listed_origins_alone(door: Served) -> None:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
    with httpx.Client(base_url=door.url, trust_env=False, timeout=60) as http:
        good = http.options("/api/v1/machines/pc07", headers={"Origin": PANEL, **asked})
        assert (good.status_code, good.content) == (204, b"")
        assert "PUT" in good.headers["access-control-allow-methods"]
        assert "Authorization" in good.headers["access-control-allow-headers"]
        assert "If-Match" in good.headers["access-control-allow-headers"]
        piece = http.options(
            "/api/v1/uploads/x", headers={"Origin": PANEL, **asked, "Access-Control-Request-Method": "PATCH"}
        )
        assert {"Tus-Resumable", "Upload-Offset"} <= set(piece.headers["access-control-allow-headers"].split(", "))
        assert "Upload-Offset" in piece.headers["access-control-expose-headers"]
        bad = http.options("/api/v1/machines/pc07", headers={"Origin": "https://evil.example", **asked})
        assert bad.status_code == 405
        assert "access-control-allow-methods" not in bad.headers


def test_without_a_list_no_origin_is_known() -> None:
    assert Origins(()).opened({b"origin": b"https://panel.example"}) == []
    assert not Origins(()).preflight("OPTIONS", {b"origin": b"", b"access-control-request-method": b"GET"})


def test_what_a_client_has_is_not_sent_again(door: Served) -> None:
    with door.http as http:
        for path in ("/api/v1/machines/pc07", "/api/v1/machines", "/api/v1/machines?limit=3", "/api/v1/events"):
            first = http.get(path)
            etag = first.headers["etag"]
            for given in (etag, f"W/{etag.removeprefix('W/')}", f'"x", {etag}', "*"):
                again = http.get(path, headers={"If-None-Match": given})
                assert (again.status_code, again.content) == (304, b""), (path, given)
                assert again.headers["etag"].removeprefix("W/") == etag.removeprefix("W/")
                assert "content-type" not in again.headers
            assert http.get(path, headers={"If-None-Match": '"other"'}).json() == first.json()
        assert http.get("/api/v1/machines/nobody", headers={"If-None-Match": "*"}).status_code == 404
        assert "etag" not in http.get("/healthz").headers


def test_a_change_is_seen_through_the_cache(door: Served) -> None:
    with door.http as http:
        one, many = (http.get(path).headers["etag"] for path in ("/api/v1/machines/pc08", "/api/v1/machines"))
        http.patch("/api/v1/machines/pc08", json={"spec": {"enabled": False}}).raise_for_status()
        assert http.get("/api/v1/machines/pc08", headers={"If-None-Match": one}).status_code == 200
        assert http.get("/api/v1/machines", headers={"If-None-Match": many}).status_code == 200


def test_a_controller_that_dies_is_seen_through_the_cache(door: Served) -> None:
    with door.http as http:
        alive = http.get("/api/v1/machines/pc07").headers["etag"]
        door.lead(-1)
        try:
            time.sleep(1.2)  # so long a lease is believed
            gone = http.get("/api/v1/machines/pc07", headers={"If-None-Match": alive})
            assert gone.json()["status"]["phase"] == "Unknown"
            etag = gone.headers["etag"]
            assert http.get("/api/v1/machines/pc07", headers={"If-None-Match": etag}).status_code == 304
            kept = http.patch("/api/v1/machines/pc07", json={"spec": {}}, headers={"If-Match": etag})
            assert kept.status_code == 200, "what is seen as Unknown can be changed all the same"
        finally:
            door.lead()
        assert http.get("/api/v1/machines/pc07", headers={"If-None-Match": etag}).status_code == 200


def test_long_answers_are_packed_for_those_who_take_it(door: Served) -> None:
    with connected(door.url) as sock:
        for accept, packed in (("gzip, br", True), ("br;q=1.0, gzip;q=0.5", True), ("gzip;q=0", False), ("identity", False)):
            sock.sendall(
                f"GET /api/v1/machines HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {door.token}\r\n"
                f"Accept-Encoding: {accept}\r\n\r\n".encode()
            )
            answer = heard(sock, time.monotonic())
            assert (answer.headers.get("content-encoding") == "gzip") is packed, accept
            body = gzip.decompress(answer.body) if packed else answer.body
            assert len(json.loads(body)["items"]) == 52
            assert answer.headers["etag"].startswith("W/") is packed
            assert set(answer.headers["vary"].split(", ")) == {"Accept-Encoding", "Authorization", "Origin"}
    with door.http as http:
        assert "content-encoding" not in http.get("/api/v1/machines/pc07").headers, "too short to be worth it"


@pytest.mark.parametrize(
    ("accept", "takes"),
    [
        (b"gzip", True),
        (b"*", True),
        (b"deflate, gzip;q=0.1", True),
        (b"gzip; q=0.0", False),
        (b"xgzip", False),
        (b"", False),
    ],
)
def test_gzip_is_used_only_where_it_is_taken(accept: bytes, takes: bool) -> None:
    assert wanted(accept) is takes


def test_a_feed_is_never_packed_and_never_held_back(door: Served) -> None:
    with door.http as http, http.stream("GET", "/api/v1/watch", headers={"Accept-Encoding": "gzip"}) as feed:
        assert "content-encoding" not in feed.headers
        assert feed.headers["cache-control"] == "no-store"
        assert next(feed.iter_lines()) == ": watching"


def test_head_is_get_without_the_content(door: Served) -> None:
    with door.http as http:
        for path in ("/healthz", "/api/v1/machines", "/api/v1/machines/pc07", "/api/v1/machines/nobody", "/openapi.json"):
            full, head = http.get(path), http.head(path)
            assert (head.status_code, head.content) == (full.status_code, b""), path
            for name in ("content-type", "content-length", "etag"):
                assert head.headers.get(name) == full.headers.get(name), (path, name)
        assert http.head("/api/v1/watch").status_code == 200, "the head of an endless answer ends"
        assert httpx.head(f"{door.url}/api/v1/machines", trust_env=False).status_code == 401


def test_an_address_says_all_that_it_takes(door: Served) -> None:
    with door.http as http:
        for method, path, takes in (
            ("OPTIONS", "/api/v1/machines/pc07", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
            ("POST", "/api/v1/machines/pc07", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
            ("TRACE", "/api/v1/machines", {"GET", "HEAD", "POST", "DELETE"}),
            ("DELETE", "/healthz", {"GET", "HEAD"}),
            ("QUERY", "/api/v1/apply", {"POST"}),
        ):
            answer = http.request(method, path)
            assert (answer.status_code, answer.headers["content-type"]) == (405, MEDIA_TYPE), method
            assert set(answer.headers["allow"].split(", ")) == takes, (method, path)


def test_nothing_that_is_sent_becomes_a_header_of_the_answer(door: Served) -> None:
    for name in ("X-Request-ID", "Origin", "If-None-Match", "Accept-Encoding", "Access-Control-Request-Method"):
        for value in ("a%0d%0aX-Evil: 1", "a\tX-Evil: 1", "x" * 3000, "\x7f", "é"):
            request = f"GET /api/v1/machines/a%0d%0aX-Evil:1?x=%0d%0aX-Evil:1 HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n"
            answer = said(door.url, request.encode("latin-1"))
            assert answer.status in (400, 401)
            assert "x-evil" not in answer.headers
            assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
