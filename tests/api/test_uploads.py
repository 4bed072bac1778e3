"""tus 1.0.0 over HTTP: what is taken, what is refused with which words, and who may."""

import base64
import gc
import hashlib
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from api.edge.bounds import Bounds
from tests.api.people import Person, login, user
from tests.api.raw import connected, heard
from tests.api.served import Served, serving
from tests.api.warm import Warm

UPLOADS = "/api/v1/uploads"
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("uploads"), warm) as served:
        yield served


@pytest.fixture
def http(shared: Served) -> Iterator[httpx.Client]:
    with shared.http as client:
        yield client


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def created(http: httpx.Client, length: int = 10, **headers: str) -> str:
    """Its address."""
    answer = http.post(UPLOADS, headers={**TUS, "Upload-Length": str(length), **headers})
    assert answer.status_code == 201, answer.text
    location: str = answer.headers["location"]
    return location


def sent(http: httpx.Client, where: str, offset: int | str, content: Any, **headers: str) -> httpx.Response:
    return http.patch(where, headers={**PIECE, "Upload-Offset": str(offset), **headers}, content=content)


def told(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["error_code"]


def stands(http: httpx.Client, where: str) -> int:
    answer = http.head(where, headers=TUS)
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"", "no-store")
    return int(answer.headers["upload-offset"])


def test_what_is_spoken_here_is_told(http: httpx.Client) -> None:
    answer = http.options(UPLOADS)
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-extension"] == "creation,creation-with-upload,checksum,expiration,termination"
    assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256"
    assert int(answer.headers["tus-max-size"]) == 256 << 30


def test_a_file_comes_in_pieces_and_is_found_under_its_id(http: httpx.Client, shared: Served) -> None:
    where = created(http, 11, **{"Upload-Metadata": f"filename {encoded('disk.raw')},odd"})
    assert stands(http, where) == 0
    first = sent(http, where, 0, b"hello ")
    assert (first.status_code, first.headers["upload-offset"], "upload-expires" in first.headers) == (204, "6", True)
    assert first.headers["tus-resumable"] == "1.0.0"
    assert stands(http, where) == 6
    assert sent(http, where, 6, iter([b"wo", b"rld"])).headers["upload-offset"] == "11"
    path = shared.settings.uploads / where.rpartition("/")[2]
    assert path.read_bytes() == b"hello world"
    shown = http.get(where).json()
    assert shown["metadata"] == {"filename": "disk.raw", "odd": ""}
    assert (shown["complete"], shown["length"], shown["owner"], "expiresAt" in shown) == (True, 11, "admin", False)
    assert http.head(where, headers=TUS).headers["upload-metadata"] == f"filename {encoded('disk.raw')},odd"
    assert http.delete(where, headers=TUS).status_code == 204
    assert told(http.get(where)) == (404, "not_found")
    assert not path.exists()


def test_the_first_piece_may_come_with_the_creation(http: httpx.Client) -> None:
    answer = http.post(UPLOADS, headers={**PIECE, "Upload-Length": "10"}, content=b"01234")
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "5")
    assert sent(http, answer.headers["location"], 5, b"56789").status_code == 204
    before = len(http.get(UPLOADS).json()["items"])
    wrong = {"Upload-Checksum": f"sha256 {base64.b64encode(bytes(32)).decode()}"}
    refused = http.post(UPLOADS, headers={**PIECE, "Upload-Length": "10", **wrong}, content=b"01234")
    assert told(refused) == (460, "checksum_mismatch")
    assert len(http.get(UPLOADS).json()["items"]) == before, "nobody was told where it is"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_of_a_piece_that_is_not_what_its_digest_says_nothing_stays(http: httpx.Client, algorithm: str) -> None:
    where = created(http)
    good = {"Upload-Checksum": f"{algorithm} {base64.b64encode(hashlib.new(algorithm, b'01234').digest()).decode()}"}
    assert told(sent(http, where, 0, b"01235", **good)) == (460, "checksum_mismatch")
    assert stands(http, where) == 0
    assert sent(http, where, 0, b"01234", **good).headers["upload-offset"] == "5"


@pytest.mark.parametrize("version", ["0.2.2", "1", "", "1.0.0, 1.0.0", None])
def test_another_version_of_tus_is_refused_with_ours(http: httpx.Client, version: str | None) -> None:
    where, given = created(http), {} if version is None else {"Tus-Resumable": version}
    asked = [
        http.post(UPLOADS, headers={**given, "Upload-Length": "1"}),
        http.patch(where, headers={**PIECE, "Tus-Resumable": version or "2.0.0", "Upload-Offset": "0"}, content=b"x"),
        http.delete(where, headers=given),
        *([http.get(where, headers=given)] if given else []),
    ]
    for answer in asked:
        assert told(answer) == (412, "tus_version")
        assert answer.headers["tus-version"] == "1.0.0"
    assert stands(http, where) == 0


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({}, 400, "Upload-Length: send a number of bytes"),
        ({"Upload-Length": "-1"}, 400, "Upload-Length"),
        ({"Upload-Length": "1e3"}, 400, "Upload-Length"),
        ({"Upload-Length": "9" * 40}, 400, "Upload-Length"),
        ({"Upload-Length": "1", "Upload-Defer-Length": "1"}, 400, "Upload-Defer-Length is not taken"),
        ({"Upload-Length": str(1 << 40)}, 413, "GGNET_UPLOAD_QUOTA"),
        ({"Upload-Length": "1", "Upload-Metadata": "filename !!"}, 400, "base64"),
        ({"Upload-Length": "1", "Upload-Metadata": "a YQ==,a YQ=="}, 400, "a key of its own"),
        ({"Upload-Length": "1", "Upload-Metadata": ","}, 400, "pairs with commas"),
        ({"Upload-Length": "1", "Upload-Metadata": "a " + "YWFh" * 2000}, 400, "4096 characters"),
        ({"Upload-Length": "1", "Upload-Checksum": "md5 YQ=="}, 400, "sha1 and sha256"),
        ({"Upload-Length": "1", "Upload-Checksum": "sha256 YQ=="}, 400, "digest in base64"),
    ],
)
def test_a_creation_that_makes_no_sense_is_refused_and_makes_nothing(
    http: httpx.Client, shared: Served, headers: dict[str, str], status: int, words: str
) -> None:
    before = set(shared.settings.uploads.glob("*"))
    answer = http.post(UPLOADS, headers={**TUS, **headers})
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert set(shared.settings.uploads.glob("*")) == before


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/passwd", "a\0b", "\x1b[31m", "‮cod.exe", "x" * 2000, ".."])
def test_a_hostile_name_is_data_and_never_a_path(http: httpx.Client, shared: Served, name: str) -> None:
    where = created(http, 1, **{"Upload-Metadata": f"filename {encoded(name)}"})
    assert sent(http, where, 0, b"x").status_code == 204
    assert http.get(where).json()["filename"] == name
    assert http.get(UPLOADS, params={"limit": 1}).json()["items"][0]["filename"] == name
    assert http.delete(where, headers=TUS).status_code == 204
    assert {path.name for path in shared.folder.rglob("*") if "etc" in path.name or "exe" in path.name} == set()


@pytest.mark.parametrize("upload", ["..", "../admin.token", "..%2f..%2fadmin.token", "%00", "A" * 32, "0" * 32, "x" * 5000])
def test_an_id_that_is_none_leads_nowhere(http: httpx.Client, shared: Served, upload: str) -> None:
    for method in ("HEAD", "GET", "PATCH", "DELETE"):
        headers = {**PIECE, "Upload-Offset": "0"} if method == "PATCH" else TUS
        answer = http.request(method, f"{shared.url}{UPLOADS}/{upload}", headers=headers, content=b"x" * (method == "PATCH"))
        assert answer.status_code in (404, 405, 431), (method, answer.text)
    assert (shared.folder / "admin.token").read_text().strip() == shared.token


def test_a_piece_that_makes_no_sense_is_refused_and_changes_nothing(http: httpx.Client) -> None:
    where = created(http)
    sent(http, where, 0, b"012")
    assert told(sent(http, where, 2, b"x")) == (409, "wrong_offset")
    assert "stands at 3" in sent(http, where, 4, b"x").json()["detail"]
    for offset in ("", "-1", "3.0", "0x3", "9" * 30):
        assert told(sent(http, where, offset, b"x")) == (400, "malformed")
    assert told(http.patch(where, headers=PIECE, content=b"x")) == (400, "malformed")
    assert told(sent(http, where, 3, b"01234567")) == (413, "too_long")
    assert told(sent(http, where, 3, iter([b"0123", b"4567"]))) == (413, "too_long")
    for kind in ("application/octet-stream", "text/plain", ""):
        assert told(sent(http, where, 3, b"x", **{"Content-Type": kind})) == (415, "unsupported_media_type")
    assert told(sent(http, where, 3, b"x", **{"Content-Encoding": "gzip"})) == (415, "unsupported_media_type")
    assert told(sent(http, where, 3, b"x", **{"Upload-Checksum": "crc32 eA=="})) == (400, "malformed")
    assert stands(http, where) == 3
    assert sent(http, where, 3, b"").headers["upload-offset"] == "3"
    assert sent(http, where, 3, b"3456789").headers["upload-offset"] == "10"


def test_who_can_send_neither_patch_nor_delete_says_so_in_a_header(http: httpx.Client) -> None:
    where = created(http)
    override = {**PIECE, "X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0"}
    assert http.post(where, headers=override, content=b"0123").headers["upload-offset"] == "4"
    assert told(http.post(where, headers={**override, "X-HTTP-Method-Override": "PUT"}, content=b"x")) == (400, "malformed")
    assert http.post(where, headers={**TUS, "X-HTTP-Method-Override": "DELETE"}).status_code == 204
    assert http.head(where, headers=TUS).status_code == 404


def test_every_answer_says_which_tus_it_speaks_and_no_other_address_does(http: httpx.Client) -> None:
    for path in (UPLOADS, f"{UPLOADS}/none"):
        assert http.get(path).headers["tus-resumable"] == "1.0.0"
    for path in (f"{UPLOADS}x", "/api/v1/machines", "/healthz"):
        assert "tus-resumable" not in http.get(path).headers


# who may


@pytest.fixture(scope="module")
def people(shared: Served) -> dict[str, Person]:
    for name, role in (("ada", "OPERATOR"), ("eve", "OPERATOR"), ("vera", "VIEWER"), ("root", "ADMIN")):
        user(shared, name, role)
    return {name: login(shared, name) for name in ("ada", "eve", "vera", "root")}


def test_an_upload_is_its_owners_and_an_administrators_alone(people: dict[str, Person]) -> None:
    ada, eve, root = (people[name] for name in ("ada", "eve", "root"))
    made = ada.ask("POST", "/uploads", headers={**TUS, "Upload-Length": "5"})
    assert (made.status_code, made.json()["owner"]) == (201, "ada")
    path = made.headers["location"].removeprefix("/api/v1")
    piece = {"headers": {**PIECE, "Upload-Offset": "0"}, "content": b"x"}
    for method, more in (("HEAD", {}), ("GET", {}), ("PATCH", piece), ("DELETE", {"headers": TUS})):
        assert eve.ask(method, path, **more).status_code == 404, method
    assert [one.ask("GET", "/uploads").json()["items"] for one in (eve, root)] == [[], []]
    assert eve.ask("GET", "/uploads", params={"everybody": "true"}).status_code == 403
    everybody = root.ask("GET", "/uploads", params={"everybody": "true"}).json()["items"]
    assert "ada" in {one["owner"] for one in everybody}
    assert root.ask("PATCH", path, **piece).headers["upload-offset"] == "1"
    assert root.ask("DELETE", path, headers=TUS).status_code == 204


def test_a_viewer_uploads_nothing_whatever_a_binding_gives(shared: Served, people: dict[str, Person]) -> None:
    shared.bind("vera", "write")
    for method, path in (("GET", ""), ("POST", ""), ("PATCH", "/" + "0" * 32), ("DELETE", "/" + "0" * 32)):
        refused = people["vera"].ask(method, f"/uploads{path}", headers={**TUS, "Upload-Length": "1"})
        assert told(refused) == (403, "forbidden"), method
        assert "'upload'" in refused.json()["detail"]
    assert people["vera"].ask("OPTIONS", "/uploads").status_code == 204


def test_who_did_what_stands_in_the_audit_log(shared: Served, people: dict[str, Person], http: httpx.Client) -> None:
    made = people["ada"].ask("POST", "/uploads", headers={**PIECE, "Upload-Length": "2"}, content=b"ab")
    path = made.headers["location"].removeprefix("/api/v1")
    people["root"].ask("DELETE", path, headers=TUS)
    rows = http.get("/api/v1/audit", params={"object": f"Upload/{made.json()['id']}"}).json()["items"]
    said = [(row["who"], row["action"]) for row in rows]
    assert said == [("api:root", "upload-delete"), ("api:ada", "upload-complete"), ("api:ada", "upload-create")]


def test_a_list_comes_in_pages(people: dict[str, Person]) -> None:
    eve = people["eve"]
    made = [eve.ask("POST", "/uploads", headers={**TUS, "Upload-Length": "1"}).json()["id"] for _ in range(5)]
    found, token = [], ""
    while True:
        page = eve.ask("GET", "/uploads", params={"limit": 2, "continue": token}).json()
        found += [one["id"] for one in page["items"]]
        if "continue" not in page["metadata"]:
            break
        token = page["metadata"]["continue"]
    assert found == made[::-1]
    places = ("2026-01-05 x", "0001-01-01T00:00:00+23:59 x", "9999-12-31T23:59:59-23:59 x", "2026-01-05T12:00:00+00:00 \0")
    for wrong in ("x", "é", "MTA=", *map(encoded, places)):
        assert told(eve.ask("GET", "/uploads", params={"continue": wrong})) == (400, "malformed")


# how much, how long


def test_quota_expiry_and_the_sweep(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm, upload_quota="1KiB") as door, door.http as http:
        assert http.options(UPLOADS).headers["tus-max-size"] == "1024"
        where = created(http, 1000)
        refused = http.post(UPLOADS, headers={**TUS, "Upload-Length": "100"})
        assert told(refused) == (413, "over_quota")
        assert "ggnet image discard" in refused.json()["detail"]
        sent(http, where, 0, b"01234")
        (part,) = door.settings.uploads.glob("*.part")
        _expire(door)
        for answer in (http.get(where), sent(http, where, 5, b"x"), http.delete(where, headers=TUS)):
            assert told(answer) == (404, "not_found")
        swept = anyio.from_thread.run(door.app[0].state.door.uploads.sweep, token=door.app[0].state.loop)
        assert [f"{UPLOADS}/{one.id}" for one in swept.expired] == [where]
        assert not part.exists()
        assert http.get("/api/v1/audit", params={"action": "upload-expire"}).json()["items"][0]["who"] == "controller"
        created(http, 1000)


def _expire(door: Served) -> None:
    """The time of all that is not whole is over."""
    with closing(sqlite3.connect(door.folder / "ggnet.db")) as database, database:
        database.execute("UPDATE uploads SET expires_at = created_at WHERE expires_at IS NOT NULL")


QUICK = Bounds(body=1 << 20, drain=8 << 20, linger=0.5, stall=1.5, upload=0.8, answer=2.0)


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("bounded"), warm, bounds=QUICK) as served:
        yield served


def opened(sock: socket.socket, door: Served, where: str, length: int) -> None:
    """The head of a piece; its body is the test's to send."""
    headers = {"Host": "x", "Authorization": f"Bearer {door.token}", **PIECE, "Upload-Offset": "0"}
    lines = {**headers, "Content-Length": str(length)}.items()
    sock.sendall(f"PATCH {where} HTTP/1.1\r\n".encode() + b"".join(f"{n}: {v}\r\n".encode() for n, v in lines) + b"\r\n")


def test_a_piece_may_be_larger_and_slower_than_any_other_body(bounded: Served) -> None:
    with bounded.http as http, connected(bounded.url) as sock:
        where = created(http, 3 << 20)
        opened(sock, bounded, where, 3 << 20)
        for _ in range(12):
            sock.sendall(bytes(1 << 18))
            time.sleep(0.2)
        assert heard(sock, 0).status == 204
        assert stands(http, where) == 3 << 20
        for method, path, kind in (
            ("POST", "/api/v1/apply", "application/offset+octet-stream"),
            ("PATCH", where, "application/json"),
            ("PUT", where, "application/offset+octet-stream"),
            ("POST", UPLOADS, "application/yaml"),
        ):
            refused = http.request(method, path, headers={**TUS, "Content-Type": kind}, content=bytes(3 << 20))
            assert told(refused) == (413, "too_large"), (method, path, kind)


def test_a_body_that_pauses_is_refused_and_what_came_stays(bounded: Served) -> None:
    with bounded.http as http, connected(bounded.url) as sock:
        where, began = created(http), time.monotonic()
        opened(sock, bounded, where, 10)
        sock.sendall(b"0123")
        answer = heard(sock, began)
        assert (answer.status, answer.problem()["error_code"]) == (408, "slow_body")
        assert 1 < answer.seconds < 15
        assert stands(http, where) == 4
        assert sent(http, where, 4, b"456789").status_code == 204


def test_who_is_not_let_in_is_not_read_from(bounded: Served) -> None:
    with bounded.http as http, connected(bounded.url) as sock:
        where = created(http, 3 << 20)
        opened(sock, replace(bounded, token="nobody"), where, 3 << 20)
        sock.sendall(bytes(3 << 20))
        assert heard(sock, 0).status == 401
        assert stands(http, where) == 0


def test_a_client_that_goes_away_leaves_what_came_and_its_place_to_the_next(http: httpx.Client, shared: Served) -> None:
    where = created(http, 5 << 20)
    with connected(shared.url) as sock:
        opened(sock, shared, where, 5 << 20)
        sock.sendall(bytes(3 << 20))
        part = shared.settings.uploads / f"{where.rpartition('/')[2]}.part"
        until = time.monotonic() + 30
        while part.stat().st_size < 2 << 20:
            assert time.monotonic() < until
            time.sleep(0.01)
        second = sent(http, where, stands(http, where), b"x")
        assert told(second) == (423, "locked")
        assert "retry-after" in second.headers
        assert told(http.delete(where, headers=TUS)) == (423, "locked")
    for _ in range(100):
        answer = sent(http, where, stands(http, where), b"x")
        if answer.status_code == 204:
            break
        assert answer.status_code in (409, 423)
        time.sleep(0.05)
    assert int(answer.headers["upload-offset"]) == (3 << 20) + 1


def test_the_others_are_answered_while_a_large_piece_comes_in(shared: Served, http: httpx.Client) -> None:
    """Measured in the loop itself. `make bench` has the figure; here it is only that nothing waits for a disk."""
    lateness, length = [0.0], 48 << 20

    async def look() -> None:
        while not done.is_set():
            began = time.monotonic()
            await anyio.sleep(0.005)
            lateness.append(time.monotonic() - began - 0.005)

    where, block, done = created(http, length), bytes(1 << 20), threading.Event()
    looking = threading.Thread(target=lambda: anyio.from_thread.run(look, token=shared.app[0].state.loop))
    gc.collect()
    gc.freeze()
    looking.start()
    try:
        assert sent(http, where, 0, (block for _ in range(length >> 20))).status_code == 204
    finally:
        done.set()
        looking.join()
        gc.unfreeze()
    assert len(lateness) > 10
    assert max(lateness) < 1, "seconds, with other tests beside it"
