"""Everything that goes wrong is one document with one shape (RFC 9457), and says nothing of the inside."""

import json
import re
import sqlite3
from collections import Counter
from datetime import datetime

import httpx

from api.problems import TABLE
from tests.api.served import Served, machine

MEMBERS = {"type", "title", "status", "detail", "error_code", "status_code", "timestamp", "request_id", "errors"}


def check(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == MEMBERS
    assert problem["status"] == problem["status_code"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert datetime.fromisoformat(problem["timestamp"]).tzinfo is not None
    assert problem["title"]
    assert problem["detail"]


def test_every_error_is_a_problem_document(site: Served) -> None:
    with site.http as http:
        check(http.get("/nowhere"), 404)
        check(http.get("/api/v1/printers"), 404)
        check(http.get("/api/v1/machines/pc99"), 404)
        check(http.post("/api/v1/machines/pc07"), 405)
        check(http.get("/api/v1/machines", params={"limit": "many"}), 422)
        check(http.post("/api/v1/machines", content="kind: Machine"), 422)
        check(http.post("/api/v1/machines", content=machine(7)), 409)
        check(http.patch("/api/v1/machines/pc07", content="{"), 400)
        check(httpx.get(f"{site.url}/api/v1/machines", trust_env=False, timeout=60), 401)
        check(http.get("/api/v1/watch", params={"since": 10**9}), 410)
        check(http.post("/api/v1/plan"), 503)


def test_a_manifests_problem_names_line_object_and_field(site: Served) -> None:
    with site.http as http:
        answer = http.post("/api/v1/machines", content=machine(9).replace("10.77.0.59", "10.77.0.999"))
        (error,) = answer.json()["errors"]
        assert (error["object"], error["field"], error["line"]) == ("Machine/pc09", "spec.address", 4)
        assert "10.77.0.999" in error["message"]


def test_the_clients_request_id_is_kept_when_it_is_fit_for_a_log(site: Served) -> None:
    with site.http as http:
        assert http.get("/healthz", headers={"X-Request-ID": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
        for bad in ("x" * 65, "a b", "é", ""):
            given = http.get("/healthz", headers=[(b"X-Request-ID", bad.encode("latin-1"))]).headers["x-request-id"]
            assert re.fullmatch("[0-9a-f]{32}", given)


def test_a_failing_store_is_503_without_its_insides(site: Served) -> None:
    with sqlite3.connect(site.folder / "ggnet.db") as database:
        database.execute("ALTER TABLE events RENAME TO lost")
    with site.http as http:
        answer = http.get("/api/v1/events")
        check(answer, 503)
        assert not re.search(r"(?i)sqlite|sql|table|objects|Traceback|\.py|ggnet\.db", answer.json()["detail"])
    database.close()


def test_each_error_has_its_own_code() -> None:
    times = Counter(row.code for row in TABLE.values())
    assert {code: count for code, count in times.items() if count > 1} == {
        "invalid": 2,  # manifests, and parameters
        "too_many": 2,  # bindings of a user, and keys
        "unavailable": 2,  # the store, and what is not there yet
    }


def test_the_openapi_document_describes_the_manifests(door: Served) -> None:
    with door.http as http:
        document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {"Machine", "Session", "Image", "Network"} <= set(document["components"]["schemas"])
    take = document["paths"]["/api/v1/machines/{name}"]["put"]["requestBody"]["content"]
    assert take["application/json"]["schema"] == {"$ref": "#/components/schemas/Machine"}
    references = re.findall(r'"\$ref": ?"#/components/schemas/([^"]+)"', json.dumps(document))
    assert set(references) <= set(document["components"]["schemas"])
