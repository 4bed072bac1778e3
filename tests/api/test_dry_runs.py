"""What is only tried is checked like the real thing, answered like it, and leaves nothing behind."""

import sqlite3
from typing import Any

import pytest

from tests.api.served import Served, machine, session

TRY = {"dryRun": "true"}
WRITES: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "create": ("POST", "/machines", {"content": machine(9)}, 201),
    "put": ("PUT", "/machines/pc07", {"content": machine(7, room="x")}, 200),
    "patch": ("PATCH", "/machines/pc07", {"json": {"spec": {"hostname": "x"}}}, 200),
    "delete": ("DELETE", "/sessions/pc07", {}, 202),
    "forced delete": ("DELETE", "/sessions/pc07?force=true", {}, 202),
    "delete many": ("DELETE", "/sessions?labelSelector=!x", {}, 202),
    "suspend": ("POST", "/machines/pc07/suspend", {}, 200),
    "resume": ("POST", "/machines/pc08/resume", {}, 200),
    "apply": ("POST", "/apply", {"content": machine(9)}, 200),
    "start": ("POST", "/sessions/pc08/start", {"json": {"image": "win11"}}, 200),
    "stop": ("POST", "/sessions/pc07/stop", {}, 200),
    "start several disks": ("POST", "/sessions/pc08/start", {"json": {"disks": [{"name": "a", "image": "win11"}]}}, 200),
    "bulk start": ("POST", "/bulk/start", {"json": {"labelSelector": "room", "image": "win11"}}, 200),
    "bulk stop": ("POST", "/bulk/stop", {"json": {"machines": ["pc07"]}}, 200),
    "restore": ("POST", "/images/old/restore", {}, 200),
    "approve": ("POST", "/revisions/4f2a91c0/approve", {}, 200),
}


@pytest.fixture
def busy(site: Served) -> Served:
    """Something for each kind of write to be tried on."""
    site.apply(session(7))
    site.record("4f2a91c0", "guarded")
    with site.http as http:
        http.post("/api/v1/machines/pc08/suspend").raise_for_status()
        image = "apiVersion: ggnet/v1\nkind: Image\nmetadata: {name: old}\nspec: {source: {path: old.raw}}\n"
        http.post("/api/v1/images", content=image).raise_for_status()
        http.delete("/api/v1/images/old").raise_for_status()
    site.gone("Image/old")
    return site


def rows(site: Served) -> list[str]:
    """The whole database, but what the tests' own requests read."""
    with sqlite3.connect(site.folder / "ggnet.db") as database:
        return list(database.iterdump())


def plain(body: Any) -> Any:
    """Without what only a write that happened has."""
    if isinstance(body, dict):
        skipped = {"resourceVersion", "uid", "createdAt", "deletedAt", "managedBy", "dryRun"}
        return {name: plain(value) for name, value in body.items() if name not in skipped}
    return [plain(one) for one in body] if isinstance(body, list) else body


@pytest.mark.parametrize("what", WRITES)
def test_a_dry_run_answers_what_the_write_then_does_and_writes_nothing(busy: Served, what: str) -> None:
    method, path, body, status = WRITES[what]
    with busy.http as http:
        before = rows(busy)
        tried = http.request(method, f"/api/v1{path}{'&' if '?' in path else '?'}dryRun=true", **body)
        assert tried.status_code == status, tried.text
        assert rows(busy) == before
        done = http.request(method, f"/api/v1{path}", **body)
        assert done.status_code == status
        assert rows(busy) != before, "the write itself would be seen"
        assert plain(tried.json()) == plain(done.json())
        if path.partition("?")[0] in ("/sessions/pc07",) and method == "DELETE":
            assert "deletedAt" in tried.json()["metadata"]


REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a machine that a session names": ("DELETE", "/machines/pc07", {}, "invalid"),
    "an image that there is none of": ("POST", "/sessions/pc08/start", {"json": {"image": "win99"}}, "invalid"),
    "a machine that there is none of": (
        "POST",
        "/bulk/start",
        {"json": {"machines": ["pc99"], "image": "win11"}},
        "refused",
    ),
    "an old version": ("DELETE", "/sessions/pc07", {"headers": {"If-Match": '"1"'}}, "conflict"),
    "a name that stands": ("POST", "/machines", {"content": machine(7)}, "exists"),
    "nothing to restore": ("POST", "/images/win11/restore", {}, "exists"),
    "no such object": ("POST", "/machines/pc99/suspend", {}, "not_found"),
    "no such revision": ("POST", "/revisions/ffff/approve", {}, "not_found"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_dry_run_is_refused_like_the_write(busy: Served, what: str) -> None:
    method, path, body, code = REFUSED[what]
    with busy.http as http:
        tried = http.request(method, f"/api/v1{path}", params=TRY, **body)
        done = http.request(method, f"/api/v1{path}", **body)
        assert tried.json()["error_code"] == done.json()["error_code"] == code
        assert (tried.status_code, tried.json()["errors"]) == (done.status_code, done.json()["errors"])


def test_a_dry_run_of_a_running_pcs_end_is_guarded(busy: Served) -> None:
    busy.reach("Session/pc07", "Active")
    with busy.http as http:
        for path in ("/sessions/pc07", "/sessions?labelSelector=!x"):
            answer = http.delete(f"/api/v1{path}{'&' if '?' in path else '?'}dryRun=true")
            assert answer.json()["error_code"] == "guarded"


def test_a_dry_run_of_a_new_object_has_no_etag(busy: Served) -> None:
    with busy.http as http:
        assert "etag" not in http.post("/api/v1/machines", content=machine(9), params=TRY).headers
        tried = http.patch("/api/v1/machines/pc07", json={"spec": {"hostname": "x"}}, params=TRY)
        assert tried.headers["etag"] == http.get("/api/v1/machines/pc07").headers["etag"]


def test_the_command_tries_each_verb(busy: Served) -> None:
    for words in (
        ("start", "pc08", "--image", "win11"),
        ("stop", "pc07"),
        ("suspend", "machine/pc07"),
        ("resume", "machine/pc08"),
        ("delete", "session/pc07"),
        ("restore", "image/old"),
        ("history", "--approve", "4f2a91c0"),
    ):
        before = rows(busy)
        tried = busy.ggnet(*words, "--dry-run")
        assert (tried.returncode, tried.stdout.endswith(" (dry run)\n")) == (0, True), tried
        assert rows(busy) == before, words
