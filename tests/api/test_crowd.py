"""Live feeds without end leave nobody else a connection: so many of one identity, and no more."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.api.people import Person, login, user
from tests.api.raw import connected
from tests.api.served import SITE, Served, serving
from tests.api.test_socket import joined, refused
from tests.api.test_watch import until
from tests.api.warm import Warm


@pytest.fixture
def small(tmp_path: Path, warm: Warm) -> Iterator[Served]:
    with serving(tmp_path, warm, feeds=2) as door:
        door.apply(SITE)
        user(door, "ada")
        user(door, "bob")
        yield door


def bearer(person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.access}"}


def open_feeds(door: Served) -> int:
    found: int = door.app[0].state.door.feed.listeners
    return found


@contextmanager
def listening(person: Person) -> Iterator[None]:
    with connected(person.door.url) as sock:
        asked = f"GET /api/v1/watch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.access}\r\n\r\n"
        sock.sendall(asked.encode())
        assert b"200 OK" in sock.recv(4096)
        yield


def test_one_more_is_refused_until_one_of_them_is_closed(small: Served) -> None:
    ada, bob = login(small, "ada"), login(small, "bob")
    with ExitStack() as stays:
        stays.enter_context(listening(ada))
        with joined(small, headers=bearer(ada)):
            until(lambda: open_feeds(small) == 2)
            answer = ada.ask("GET", "/watch")
            assert (answer.status_code, answer.json()["error_code"]) == (429, "too_many_feeds")
            assert int(answer.headers["retry-after"]) > 0
            status, problem = refused(small, headers=bearer(ada))
            assert (status, problem["error_code"]) == (429, "too_many_feeds")
            assert "2 live feeds" in problem["detail"]
            with listening(bob):
                until(lambda: open_feeds(small) == 3)
        until(lambda: open_feeds(small) == 1)
        stays.enter_context(listening(ada))
        until(lambda: open_feeds(small) == 2)
        assert ada.ask("GET", "/watch").status_code == 429


def test_of_many_that_are_asked_for_at_once_no_more_are_given(small: Served) -> None:
    ada = login(small, "ada")
    asked = f"GET /api/v1/watch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.access}\r\n\r\n".encode()
    with ExitStack() as stays:
        socks = [stays.enter_context(connected(small.url)) for _ in range(40)]
        for sock in socks:
            sock.sendall(asked)
        statuses = Counter(sock.recv(12)[9:] for sock in socks)
    assert statuses == {b"200": 2, b"429": 38}
    until(lambda: open_feeds(small) == 0)


def test_a_command_that_is_refused_says_so(small: Served) -> None:
    ada = login(small, "ada")
    with listening(ada), joined(small, headers=bearer(ada)):
        until(lambda: open_feeds(small) == 2)
        done = small.ggnet("get", "machines", "--watch", GGNET_TOKEN=ada.access)
    assert done.returncode == 3
    assert "2 live feeds open" in done.stderr
