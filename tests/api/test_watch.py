"""Every change once and in order, from where a client stopped."""

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests import logs
from tests.api.people import api_key, ask, login, user
from tests.api.raw import connected
from tests.api.served import SITE, Served, machine, session


def changes(door: Served, count: int, **request: Any) -> list[dict[str, Any]]:
    """The next ``count`` changes of the feed."""
    found: list[dict[str, Any]] = []
    with door.http as http, http.stream("GET", "/api/v1/watch", **request) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
                if len(found) == count:
                    break
    return found


def test_a_watcher_sees_what_was_written_since(door: Served) -> None:
    door.apply(SITE)
    seen = changes(door, 4, params={"since": 0})
    keys = [f"{one['object']['kind']}/{one['object']['metadata']['name']}" for one in seen]
    assert sorted(keys) == ["Image/win11", "Machine/pc07", "Machine/pc08", "Network/main"]
    versions = [one["resourceVersion"] for one in seen]
    assert versions == sorted(set(versions))
    assert {one["type"] for one in seen} == {"ADDED"}


def test_last_event_id_goes_on_where_it_stopped(door: Served) -> None:
    door.apply(SITE)
    all_of_it = changes(door, 4, params={"since": 0})
    rest = changes(door, 2, params={"since": 0}, headers={"Last-Event-ID": str(all_of_it[1]["resourceVersion"])})
    assert rest == all_of_it[2:]


def test_a_watcher_from_now_sees_only_what_comes(site: Served) -> None:
    timers = [
        threading.Timer(seconds, site.apply, [machine(number)]) for number, seconds in ((9, 1.0), (10, 2.5), (11, 4.0))
    ]
    for timer in timers:
        timer.start()
    seen = changes(site, 3)
    for timer in timers:
        timer.join()
    assert [one["object"]["metadata"]["name"] for one in seen] == ["pc09", "pc10", "pc11"]


def test_kinds_and_labels_narrow_the_feed(site: Served) -> None:
    (seen,) = changes(site, 1, params={"since": 0, "kinds": "machines", "labelSelector": "room=lab"})
    assert seen["object"]["metadata"]["name"] == "pc08"


def test_a_status_and_a_deletion_are_changes(site: Served) -> None:
    site.apply(session(7))
    with site.http as http:
        start = http.get("/api/v1/sessions").json()["metadata"]["resourceVersion"]
        site.reach("Session/pc07", "Ready")
        http.delete("/api/v1/sessions/pc07")
        site.gone("Session/pc07")
    seen = changes(site, 3, params={"since": start})
    assert [one["type"] for one in seen] == ["MODIFIED", "MODIFIED", "DELETED"]


def test_what_the_log_cannot_answer_is_said_at_once(site: Served) -> None:
    with site.http as http:
        assert http.get("/api/v1/watch", params={"since": 10**6}).status_code == 410
        assert http.get("/api/v1/watch", params={"kinds": "printers"}).status_code == 400
        assert http.get("/api/v1/watch", params={"since": -1}).status_code == 422
        assert http.get("/api/v1/watch", headers={"Last-Event-ID": "x"}).status_code == 400


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Another thread makes it true."""
    over = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < over
        time.sleep(0.05)


def test_who_asks_on_behind_a_watch_and_goes_away_is_let_go(site: Served) -> None:
    """The answers come in the order of the requests: the second waits for the end of the first, and both for nobody."""
    feed = site.app[0].state.door.feed
    watch = f"GET /api/v1/watch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.token}\r\n\r\n"
    with connected(site.url) as sock:
        sock.sendall(watch.encode() + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in sock.recv(4096)
        until(lambda: feed.listeners == 1)
        site.apply(machine(9))
        while b"pc09" not in sock.recv(4096):
            pass

    def told() -> bool:
        site.apply(machine(10, room=str(time.monotonic_ns())))
        return not feed.listeners

    until(told)
    assert "request failed" not in logs.told()


UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
)


@pytest.mark.parametrize(("path", "head", "begun"), [("watch", "", b"200 OK"), ("ws", UPGRADE, b"101 Switching")])
def test_who_may_listen_no_more_and_takes_nothing_is_cut_off(
    site: Served, monkeypatch: pytest.MonkeyPatch, path: str, head: str, begun: bytes
) -> None:
    monkeypatch.setattr("api.watch.HEARTBEAT", 1.0)
    feed = site.app[0].state.door.feed
    user(site)
    key = api_key(login(site), "read")
    asked = f"GET /api/v1/{path} HTTP/1.1\r\nHost: x\r\n{head}Authorization: Bearer {key.access}\r\n\r\n"
    long = ", ".join(f"a{number}: {'x' * 250}" for number in range(200))
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", int(site.url.rpartition(":")[2])))
        sock.sendall(asked.encode())
        assert begun in sock.recv(4096)
        until(lambda: feed.listeners == 1)
        for number in range(120):  # more than the kernel keeps for who does not read
            site.apply(machine(9).replace("labels: {", f"annotations: {{n: v{number}, {long}}}, labels: {{"))
        assert feed.listeners == 1
        ask(site, "DELETE", f"/tokens/{key.refresh}", site.token).raise_for_status()
        until(lambda: feed.listeners == 0)
