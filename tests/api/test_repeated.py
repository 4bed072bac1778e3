"""A request that is sent twice is done once."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from controller.adapters.clock import SystemClock
from controller.adapters.store import SqlStore
from controller.ports.requests import Asked, Ticket
from tests.api.served import SITE, Served, machine, serving, session, several
from tests.api.warm import Warm

KEY = {"Idempotency-Key": "4f2a91c0-77aa"}
NINE = machine(9)


def version(http: httpx.Client) -> int:
    return int(http.get("/api/v1/networks").json()["metadata"]["resourceVersion"])


def same(first: httpx.Response, again: httpx.Response) -> None:
    assert again.headers.get("idempotency-replayed") == "true"
    assert "idempotency-replayed" not in first.headers
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for header in ("etag", "content-type"):
        assert again.headers.get(header) == first.headers.get(header)


REQUESTS = {
    "create": ("/machines", {"content": NINE}, 201),
    "apply": ("/apply", {"content": several(NINE, session(9))}, 200),
    "start": ("/sessions/pc07/start", {"json": {"image": "win11"}}, 200),
    "bulk": ("/bulk/start", {"json": {"labelSelector": "room", "image": "win11"}}, 200),
    "refused": ("/sessions/pc99/start", {"json": {"image": "win11"}}, 404),
    "refused in bulk": ("/bulk/start", {"json": {"machines": ["pc99"], "image": "win11"}}, 409),
    "invalid": ("/machines", {"content": NINE.replace("macs", "mac")}, 422),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_the_second_is_answered_as_the_first_and_does_nothing(either: Served, what: str) -> None:
    path, body, status = REQUESTS[what]
    with either.http as http:
        first = http.post(f"/api/v1{path}", headers=KEY, **body)  # type: ignore[arg-type]
        assert first.status_code == status, first.text
        stands = version(http)
        same(first, http.post(f"/api/v1{path}", headers=KEY, **body))  # type: ignore[arg-type]
        assert version(http) == stands


def test_a_stop_and_a_restore_are_done_once(site: Served) -> None:
    site.apply(session(7))
    with site.http as http:
        first = http.post("/api/v1/sessions/pc07/stop", headers=KEY)
        http.post("/api/v1/sessions/pc07/start")
        same(first, http.post("/api/v1/sessions/pc07/stop", headers=KEY))
        assert http.get("/api/v1/sessions/pc07").json()["spec"]["state"] == "running"
        http.delete("/api/v1/sessions/pc07")
        site.gone("Session/pc07")
        back = http.post("/api/v1/sessions/pc07/restore", headers=KEY)
        assert back.status_code == 200
        http.delete("/api/v1/sessions/pc07")
        same(back, http.post("/api/v1/sessions/pc07/restore", headers=KEY))
        assert "deletedAt" in http.get("/api/v1/sessions/pc07").json()["metadata"]


def test_a_key_belongs_to_one_request(site: Served) -> None:
    with site.http as http:
        http.post("/api/v1/machines", content=NINE, headers=KEY).raise_for_status()
        for other in (
            http.post("/api/v1/machines", content=machine(10), headers=KEY),
            http.post("/api/v1/machines?x=1", content=NINE, headers=KEY),
        ):
            assert (other.status_code, other.json()["error_code"]) == (422, "idempotency_mismatch")
            assert other.json()["errors"][0]["field"] == "Idempotency-Key"
        assert http.post("/api/v1/apply", content=NINE, headers=KEY).status_code == 200, "another address, another key"


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\tb", "schl\xfcssel"])
def test_a_key_that_is_none_is_refused(site: Served, key: str) -> None:
    with site.http as http:
        headers = [(b"Idempotency-Key", key.encode("latin-1"))]
        answer = http.post("/api/v1/machines", content=NINE, headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
        assert http.get("/api/v1/machines/pc09").status_code == 404


def test_a_dry_run_takes_no_key(site: Served) -> None:
    with site.http as http:
        for _ in range(2):
            tried = http.post("/api/v1/machines", content=NINE, headers=KEY, params={"dryRun": "true"})
            assert (tried.status_code, "idempotency-replayed" in tried.headers) == (201, False)
        assert http.post("/api/v1/machines", content=NINE, headers=KEY).status_code == 201


def _begin(site: Served, body: str, seconds_ago: float = 0) -> None:
    """A process has begun this request, and died."""
    import hashlib
    from datetime import timedelta

    async def act() -> None:
        store = await SqlStore.open(site.settings.database)
        digest = hashlib.sha256(b"\0" + body.encode()).hexdigest()
        asked = Asked("api:admin", "POST", "/api/v1/machines", KEY["Idempotency-Key"], digest)
        ticket = await store.begin(asked, SystemClock().now() - timedelta(seconds=seconds_ago))
        assert isinstance(ticket, Ticket)
        await store.close()

    anyio.run(act)


def test_while_the_first_is_under_way_the_second_is_told_to_wait(either: Served) -> None:
    _begin(either, NINE)
    with either.http as http:
        answer = http.post("/api/v1/machines", content=NINE, headers=KEY)
        assert (answer.status_code, answer.json()["error_code"]) == (409, "in_progress")
        assert answer.headers["retry-after"] == "1"
        assert http.get("/api/v1/machines/pc09").status_code == 404


def test_what_a_dead_process_began_is_carried_out_by_the_next(either: Served) -> None:
    _begin(either, NINE, seconds_ago=61)
    with either.http as http:
        first = http.post("/api/v1/machines", content=NINE, headers=KEY)
        assert first.status_code == 201
        same(first, http.post("/api/v1/machines", content=NINE, headers=KEY))


@pytest.fixture
def replicas(postgres_url: str, tmp_path: Path, warm: Warm) -> Iterator[list[Served]]:
    """Two API processes' worth of doors on one PostgreSQL, with one token.

    Each has built all its routes before they are asked at once: the framework does that at the first request, with the
    warnings turned off meanwhile, which is no thing to do in two threads of one process.
    """
    with (
        serving(tmp_path, warm, database_url=postgres_url) as one,
        serving(tmp_path, warm, database_url=postgres_url) as other,
    ):
        for served in (one, other):
            with served.http as http:
                http.get("/openapi.json").raise_for_status()
        one.lead()
        one.apply(SITE)
        yield [one, other]


def test_one_request_sent_to_two_replicas_at_once_is_done_once(replicas: list[Served]) -> None:
    answers: list[httpx.Response] = []

    def send(served: Served, number: int) -> None:
        key = {"Idempotency-Key": f"key-{number}"}
        with served.http as http:
            answers.append(http.post("/api/v1/machines", content=machine(20 + number), headers=key))

    for number in range(6):
        threads = [threading.Thread(target=send, args=(served, number)) for served in (*replicas, *replicas)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.json()["error_code"] for answer in answers if answer.status_code == 409} <= {"in_progress"}
    made = [answer for answer in answers if answer.status_code == 201 and "idempotency-replayed" not in answer.headers]
    assert len(made) == 6
    with replicas[1].http as http:
        for number in range(6):
            again = http.post("/api/v1/machines", content=machine(20 + number), headers={"Idempotency-Key": f"key-{number}"})
            assert again.headers["idempotency-replayed"] == "true"
            assert json.loads(again.content)["metadata"]["uid"] in {answer.json()["metadata"]["uid"] for answer in made}
        assert len(http.get("/api/v1/machines").json()["items"]) == 8
