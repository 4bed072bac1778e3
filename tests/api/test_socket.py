"""The live feed over a WebSocket, as a client that nobody here wrote hears it."""

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.api.served import SITE, Served, machine


def joined(door: Served, query: str = "", **options: Any) -> ClientConnection:
    headers = options.pop("headers", {"Authorization": f"Bearer {door.token}"})
    url = door.url.replace("http://", "ws://") + f"/api/v1/ws{query}"
    socket: ClientConnection = connect(url, additional_headers=headers, proxy=None, open_timeout=20, **options)
    return socket


def heard(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(socket.recv(timeout=20)) for _ in range(count)]


def refused(door: Served, query: str = "", **options: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as raised, joined(door, query, **options):
        pass
    answer = raised.value.response
    assert answer.headers["content-type"] == "application/problem+json", (query, answer.status_code, answer.body)
    return answer.status_code, json.loads(answer.body or b"{}")


def test_it_tells_what_the_other_feed_tells(door: Served) -> None:
    door.apply(SITE)
    with door.http as http, http.stream("GET", "/api/v1/watch", params={"since": 0}) as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("data: "))
        expected = [json.loads(next(lines).removeprefix("data: ")) for _ in range(4)]
    with joined(door, "?since=0") as socket:
        assert heard(socket, 4) == expected
        door.apply(machine(9))
        assert heard(socket, 1)[0]["object"]["metadata"]["name"] == "pc09"
    with joined(door, "?since=2&kinds=machines&labelSelector=room%3Dlab") as socket:
        assert [one["object"]["metadata"]["name"] for one in heard(socket, 1)] == ["pc08"]


def test_a_page_sends_its_token_as_a_subprotocol(door: Served) -> None:
    offers = [Subprotocol("ggnet.v1"), Subprotocol(f"bearer.{door.token}")]
    with joined(door, headers={}, subprotocols=offers) as socket:
        assert socket.subprotocol == "ggnet.v1"
        door.apply(SITE)
        assert len(heard(socket, 4)) == 4


def test_what_is_refused_is_a_problem_before_the_upgrade(door: Served) -> None:
    door.apply(SITE)
    for query, options, status, code in (
        ("", {"headers": {}}, 401, "unauthorised"),
        (f"?access_token={door.token}&token={door.token}", {"headers": {}}, 401, "unauthorised"),
        ("", {"headers": {"Authorization": "Bearer wrong"}}, 401, "unauthorised"),
        ("?since=1000000", {}, 410, "gone"),
        ("?kinds=printers", {}, 400, "malformed"),
        ("?since=-1", {}, 422, "invalid"),
        ("?labelSelector=%3D%3D", {}, 400, "malformed"),
        ("", {"origin": "https://elsewhere.example"}, 403, "forbidden"),
    ):
        found = refused(door, query, **options)
        assert (found[0], found[1]["error_code"]) == (status, code), (query, found)
        assert door.token not in json.dumps(found[1])


def test_what_a_client_says_disturbs_nobody(door: Served) -> None:
    with joined(door) as socket:
        for said in ("hello", "{}", b"\\x00\\xff", "x" * 1000):
            socket.send(said)
        door.apply(SITE)
        assert len(heard(socket, 4)) == 4


def test_it_ends_soon_after_its_token_does(door: Served) -> None:
    with door.http as http:
        made = http.post("/api/v1/tokens", json={"name": "page", "scopes": ["read"]}).raise_for_status().json()
        with joined(door, headers={"Authorization": f"Bearer {made['token']}"}) as socket:
            door.apply(SITE)
            assert len(heard(socket, 4)) == 4
            http.delete(f"/api/v1/tokens/{made['id']}").raise_for_status()
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
