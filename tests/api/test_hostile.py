"""What nobody should send: each is refused in one clear sentence, and the server goes on."""

import time
from collections.abc import Iterator

import pytest

from tests.api.served import SITE, Served, machine, serving, several
from tests.api.warm import Warm

NAMES = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "pc07%00",
    "pc07%0a",
    "pc07'; DROP TABLE objects; --",
    "PC07",
    "pс07",  # a Cyrillic letter
    "%F0%9F%92%BE",
    "x" * 10_000,
    "-",
    "{name}",
    "${jndi:ldap://x}",
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("hostile"), warm) as served:
        served.lead()
        served.apply(SITE)
        yield served


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_hostile_name_finds_nothing(shared: Served, name: str) -> None:
    with shared.http as http:
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/suspend"), ("GET", "/why")):
            answer = http.request(method, f"/api/v1/machines/{name}{path}")
            assert answer.status_code in (404, 405), answer.text
            assert len(answer.text) < 1000
            assert answer.text.isprintable()
        assert http.post(f"/api/v1/sessions/{name}/start", json={"image": "win11"}).status_code in (404, 405, 422)


@pytest.mark.parametrize("name", ["../x", "pc\\u0000", "pc\\n", "PC", "p" * 10_000, "", "pс07", "a.b", '\\"'])
def test_a_hostile_name_in_a_manifest_is_refused(shared: Served, name: str) -> None:
    text = machine(9).replace("name: pc09", f'name: "{name}"')
    with shared.http as http:
        answer = http.post("/api/v1/machines", content=text.encode())
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"]
        assert len(answer.text) < 2000


def test_bytes_that_are_no_manifest_are_refused(shared: Served) -> None:
    bodies = {
        "nul": b"\x00" * 1000,
        "binary": bytes(range(256)) * 40,
        "bom": b"\xef\xbb\xbfkind: Machine",
        "alias bomb": b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
        "deep flow": b"[" * 60_000,
        "deep block": b"\n".join(b" " * i + b"a:" for i in range(500)),
        "unclosed": b'{"kind": "Machine"',
        "scalar": b"42",
        "wide": b"{" + b",".join(b'"k%d":1' % i for i in range(5000)) + b"}",
    }
    with shared.http as http:
        for path in ("/api/v1/apply", "/api/v1/machines", "/api/v1/plan"):
            for media_type in ("application/json", "application/yaml"):
                for name, body in bodies.items():
                    answer = http.post(path, content=body, headers={"Content-Type": media_type})
                    assert answer.status_code == 422, (path, media_type, name)
                    assert len(answer.text) < 3000, (path, media_type, name)


def test_deep_json_in_a_patch_is_refused(shared: Served) -> None:
    with shared.http as http:
        for body in (
            b"[" * 200_000,
            b'{"spec":' * 100_000,
            b'{"a":1,"a":2}',
            b"NaN",
            b"\xff\xfe",
            b'{"spec": ' + b"9" * 10_000 + b"}",
        ):
            answer = http.patch("/api/v1/machines/pc07", content=body)
            assert answer.status_code in (400, 422), body[:20]
        nested: object = "x"
        for _ in range(300):
            nested = {"a": nested}
        assert http.patch("/api/v1/machines/pc07", json={"spec": {"hostname": nested}}).status_code == 422
        assert http.get("/api/v1/machines/pc07").status_code == 200


def test_a_body_over_the_limit_is_refused_while_it_streams(shared: Served) -> None:
    def stream(chunks: int) -> Iterator[bytes]:
        for _ in range(chunks):
            yield b"# " + b"x" * (1 << 20)

    with shared.http as http:
        for content in (b"# " + b"x" * (17 << 20), stream(20)):
            answer = http.post("/api/v1/apply", content=content)
            assert (answer.status_code, answer.json()["error_code"]) == (413, "too_large")
        assert http.get("/healthz").status_code == 200


def test_a_body_of_the_size_of_a_large_site_is_taken(shared: Served) -> None:
    begin = time.monotonic()
    with shared.http as http:
        many = several(*(machine(100 + number) for number in range(100)))
        assert http.post("/api/v1/apply", params={"dryRun": "true"}, content=many).status_code == 200
    assert time.monotonic() - begin < 10


def test_a_nul_is_the_clients_mistake_whatever_the_database(either: Served) -> None:
    """PostgreSQL's text holds none: that is no reason to say that it does not answer."""
    asked = ("events?object=", "revisions?source=", "audit?who=", "audit?object=", "audit?action=", "deleted?continue=")
    with either.http as http:
        for path in asked:
            answer = http.get(f"/api/v1/{path}a%00b")
            assert (answer.status_code, answer.json()["error_code"]) == (400, "malformed"), path
        assert http.delete("/api/v1/bindings/a%00b").status_code == 404


def test_queries_of_any_kind_are_answered_without_failing(shared: Served) -> None:
    with shared.http as http:
        for path in ("machines", "events", "revisions", "drift", "watch"):
            for query in (
                "limit=1e99",
                "limit=-1",
                "since=%00",
                "labelSelector=%00",
                "continue=%ff",
                "object=%00",
                "source=%F0%9F",
            ):
                if path == "watch" and not query.startswith("since"):
                    continue
                assert http.get(f"/api/v1/{path}?{query}").status_code < 504, (path, query)
                assert http.get(f"/api/v1/{path}?{query}").status_code != 500, (path, query)
