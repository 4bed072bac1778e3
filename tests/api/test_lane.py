"""Single objects are read past the framework's tasks, and nobody can tell by the answer."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from api.turnstile import SHORT, Turnstile
from controller.adapters.clock import SystemClock
from controller.adapters.rates import Counted, Memory
from tests.api.people import A, api_key, ask, login, user
from tests.api.raw import Heard, connected, heard, said
from tests.api.served import SITE, Served, machine, serving, several
from tests.api.warm import Warm

PANEL = "https://panel.example"
LONG_WAY = {"Content-Length": "0"}


def counted() -> Counted:
    return Counted(Memory(SystemClock()))


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Served]:
    limit = 100_000  # a handful lasts for all tests here
    settings: dict[str, Any] = {"cors_origins": PANEL, "proxies": "127.0.0.1", "rate_limit": limit}
    with serving(tmp_path_factory.mktemp("lane"), warm, rates=counted, **settings) as served:
        served.lead()
        labels = "".join(f", l{number}: {'x' * 60}" for number in range(20))
        served.apply(several(SITE, machine(9).replace("room: main", f"room: main{labels}")))
        user(served, "ada", "OPERATOR")
        yield served


@pytest.fixture(scope="module")
def token(door: Served) -> str:
    """Of a login whose quota is known, with some of it at hand."""
    found = login(door).access
    for _ in range(2):
        get(door, "/machines/pc07", found)
    return found


def get(door: Served, path: str, token: str, headers: Mapping[str, str] | None = None) -> Heard:
    return said(door.url, wire(path, token, headers))


def wire(path: str, token: str, headers: Mapping[str, str] | None = None) -> bytes:
    told = {"Host": "x", "Authorization": f"Bearer {token}", **(headers or {})}
    return "\r\n".join([f"GET {A}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]).encode()


def quick(answer: Heard) -> bool:
    """The lane writes first what is the request's own."""
    names = list(answer.headers)
    return names.index("x-request-id") < names.index("cache-control")


@pytest.mark.parametrize("path", ["/machines/pc07", "/machines/pc09", "/images/win11", "/networks/main"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Accept-Encoding": "gzip"},
        {"If-None-Match": "*"},
        {"If-None-Match": 'W/"2", "3", "4", "5", "6", "7"', "Accept-Encoding": "gzip, br"},
        {"If-None-Match": '"nothing"'},
        {"Origin": PANEL},
        {"Origin": "https://elsewhere.example", "X-Request-ID": "mine"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.9"},
    ],
    ids=repr,
)
def test_an_answer_is_the_one_of_the_long_way(door: Served, token: str, path: str, headers: dict[str, str]) -> None:
    short, long = get(door, path, token, headers), get(door, path, token, headers | LONG_WAY)
    assert [quick(short), quick(long)] == [True, False]
    assert (short.status, short.body) == (long.status, long.body)
    ids = [answer.headers.pop("x-request-id") for answer in (short, long)]
    assert ids == ["mine"] * 2 if "X-Request-ID" in headers else ids[0] != ids[1]
    left = [int(answer.headers.pop("ratelimit-remaining")) for answer in (short, long)]
    assert left[0] == left[1] + 1
    for answer in (short, long):
        del answer.headers["date"]
        answer.headers["vary"] = ", ".join(sorted(answer.headers["vary"].split(", ")))
        assert int(answer.headers.pop("ratelimit-reset")) <= 60
    assert short.headers == long.headers


def test_what_was_written_is_read(door: Served) -> None:
    """Also where it was written past this process."""
    assert json.loads(get(door, "/machines/pc08", door.token).body)["metadata"]["labels"] == {"room": "lab"}
    for room in ("attic", "main", "lab"):
        door.commit(several(machine(8, room=room)), "api:admin")
        answer = get(door, "/machines/pc08", door.token)
        assert quick(answer)
        assert json.loads(answer.body)["metadata"]["labels"] == {"room": room}


def test_who_is_refused_is_refused_the_long_way(door: Served) -> None:
    user(door, "eve", "OPERATOR")
    eve = login(door, "eve")
    assert [get(door, "/machines/pc07", eve.access).status for _ in range(2)] == [200, 200]
    for token in ("", "invented", eve.access[:-2] + "xx", "ggk_4f2a91c07d3e_invented"):
        refused = get(door, "/machines/pc07", token)
        assert (refused.status, refused.problem()["error_code"]) == (401, "unauthorised")
    assert get(door, "/machines/nobody", eve.access).status == 404
    assert eve.ask("POST", "/auth/logout").status_code == 204
    assert get(door, "/machines/pc07", eve.access).status == 401, "at once"


def test_who_is_shut_out_or_narrowed_reads_no_more(door: Served) -> None:
    user(door, "kim", "VIEWER")
    kim = login(door, "kim")
    assert [quick(get(door, "/machines/pc08", kim.access)) for _ in range(3)] == [False, True, True]
    door.bind("kim", "read", selector="room=main", narrows=True)
    assert get(door, "/machines/pc08", kim.access).status == 404
    seen = get(door, "/machines/pc07", kim.access)
    assert (seen.status, quick(seen)) == (200, True)
    assert ask(door, "PATCH", "/users/kim", door.token, json={"disabled": True}).status_code == 200
    assert get(door, "/machines/pc07", kim.access).status == 401


def test_an_api_key_is_read_with_and_its_use_is_written(door: Served) -> None:
    key = api_key(login(door), "read")
    answers = [get(door, "/machines/pc07", key.access) for _ in range(3)]
    assert [(one.status, quick(one)) for one in answers] == [(200, False), (200, True), (200, True)]
    used = [one["lastUsedAt"] for one in ask(door, "GET", "/tokens", door.token).json()["items"] if one["id"] == key.refresh]
    assert used != [None]


def test_a_quota_is_one_for_both_ways(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm, rates=counted, rate_limit=400) as door:
        door.lead()
        door.apply(SITE)
        user(door)
        with httpx.Client(
            base_url=door.url, headers={"Authorization": f"Bearer {login(door).access}"}, trust_env=False
        ) as http:
            answers = [http.get(f"{A}/machines/pc07", headers=LONG_WAY if at % 3 else {}) for at in range(402)]
    assert [one.status_code for one in answers] == [200] * 400 + [429] * 2
    ways = {list(one.headers).index("x-request-id") < list(one.headers).index("cache-control") for one in answers[:400]}
    assert ways == {True, False}


def test_an_object_that_nobody_looks_after_is_unknown_as_ever(tmp_path: Path, warm: Warm) -> None:
    with serving(tmp_path, warm) as door:
        door.apply(SITE)
        answer = get(door, "/machines/pc07", door.token)
        assert not quick(answer)
        assert json.loads(answer.body)["status"]["conditions"][0]["reason"] == "ControllerGone"


def test_requests_that_come_at_once_are_answered_in_their_order(door: Served) -> None:
    paths = ["/machines/pc07", "/machines", "/machines/pc08", "/machines/nobody", "/machines/pc09", "/machines/pc07"]
    with connected(door.url) as sock:
        sock.sendall(b"".join(wire(path, door.token, {"X-Request-ID": f"r{at}"}) for at, path in enumerate(paths)))
        data = b""
        while data.count(b"x-request-id: ") < len(paths):
            data += sock.recv(1 << 16)
    found = [line.partition(b": ")[2].decode() for line in data.split(b"\r\n") if line.startswith(b"x-request-id")]
    assert found == [f"r{at}" for at in range(len(paths))]


def test_a_connection_that_is_to_end_ends(door: Served) -> None:
    with connected(door.url) as sock:
        sock.sendall(wire("/machines/pc07", door.token, {"Connection": "close"}))
        assert heard(sock, 0).headers["connection"] == "close"
        assert sock.recv(1) == b""


def test_both_ways_are_counted(door: Served) -> None:
    def count() -> float:
        text = httpx.get(f"{door.url}/metrics", headers={"Authorization": f"Bearer {door.token}"}, trust_env=False).text
        assert "ggnet_http_in_flight 1.0" in text, "but for this one nobody is asking"
        lines = [line for line in text.splitlines() if line.startswith("ggnet_http_requests_total{")]
        asked = 'method="GET",route="/api/v1/machines/{name}",status="200"'
        return sum(float(line.rpartition(" ")[2]) for line in lines if asked in line)

    before = count()
    for way in ({}, LONG_WAY, {}):
        get(door, "/machines/pc07", door.token, way)
    assert count() == before + 3


@pytest.mark.anyio
@pytest.mark.parametrize(("turnstile", "few"), [(Turnstile(), 4), (Turnstile(SHORT), 32)])
async def test_a_turn_of_the_loop_begins_few_and_in_their_order(turnstile: Turnstile, few: int) -> None:
    begun, turns = list[int](), list[int]()
    for number in range(100):
        turnstile.enter(lambda number=number: begun.append(number))  # type: ignore[misc]
    while len(begun) < 100:
        turns.append(len(begun))
        await anyio.lowlevel.checkpoint()
    assert begun == list(range(100))
    assert turns[:3] == [few, 2 * few, 3 * few]
    await anyio.lowlevel.checkpoint()
    turnstile.enter(lambda: begun.append(100))
    assert begun[-1] == 100, "at once, when nobody waits"
