"""What a machine takes along when it leaves somebody's part: its sessions, over both feeds, wherever one goes on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.roles import Role
from tests.api.served import SITE, Served, machine, serving, session, several
from tests.api.test_socket import heard, joined
from tests.api.warm import Warm

Said = tuple[str, str, str]
MOVED: list[Said] = [
    ("DELETED", "Session", "pc07"),
    ("DELETED", "Machine", "pc07"),
    ("ADDED", "Session", "pc08"),
    ("ADDED", "Machine", "pc08"),
]


@pytest.fixture
def rooms(tmp_path: Path, warm: Warm) -> Iterator[Served]:
    """pc07 in ada's room, pc08 in another one, each with a session, one of which is being withdrawn."""
    with serving(tmp_path, warm, announced=True) as served:
        served.lead()
        served.apply(several(SITE, session(7, state="stopped"), session(8, state="stopped")))
        served.bind("ada", "read", narrows=True)
        with served.http as http:
            http.delete("/api/v1/sessions/pc07").raise_for_status()
        yield served


def version(door: Served) -> int:
    with door.http as http:
        return int(http.get("/api/v1/machines").json()["metadata"]["resourceVersion"])


def swap(door: Served) -> None:
    for number, room in ((7, "lab"), (8, "main")):
        door.apply(machine(number, room=room))


def told(change: dict[str, object]) -> Said:
    item = change["object"]
    assert isinstance(item, dict)
    return str(change["type"]), item["kind"], item["metadata"]["name"]


def streamed(door: Served, since: int, count: int, who: str = "ada") -> list[tuple[int, Said]]:
    """With the ids that a client would go on from."""
    found: list[tuple[int, Said]] = []
    role = Role.ADMIN if who == "root" else Role.VIEWER
    with (
        door.acting(who, role) as http,
        http.stream("GET", "/api/v1/watch", params={"since": since}) as stream,
    ):
        id = 0
        for line in stream.iter_lines():
            if line.startswith("id: "):
                id = int(line[4:])
            if line.startswith("data: "):
                found.append((id, told(json.loads(line[6:]))))
                if len(found) == count:
                    break
    return found


def test_the_sessions_of_a_machine_leave_and_come_with_it(rooms: Served) -> None:
    since = version(rooms)
    swap(rooms)
    found = streamed(rooms, since, 4)
    assert [said for _, said in found] == MOVED
    assert [said for _, said in streamed(rooms, since, 2, "root")] == [
        ("MODIFIED", "Machine", "pc07"),
        ("MODIFIED", "Machine", "pc08"),
    ]


def test_who_is_cut_off_after_any_of_them_misses_none(rooms: Served) -> None:
    since = version(rooms)
    swap(rooms)
    whole = streamed(rooms, since, 4)
    for at, (id, _) in enumerate(whole[:-1], 1):
        rest = [said for _, said in whole[at:]]
        more = at % 2  # a session is said once more where its machine was not
        again = [said for _, said in streamed(rooms, id, len(rest) + more)]
        assert again == MOVED[at - more :]


def test_a_socket_tells_the_same_as_it_happens(rooms: Served) -> None:
    headers = {"Authorization": f"Bearer {rooms.token}", "X-Test-Name": "ada", "X-Test-Role": "VIEWER"}
    with joined(rooms, headers=headers) as socket:
        swap(rooms)
        changes = heard(socket, 4)
    assert [told(one) for one in changes] == MOVED
    assert [key for one in changes[:2] for key in one["object"]["metadata"]] == ["name", "name"]


def test_a_session_is_judged_by_its_machine_as_it_stood_then(rooms: Served) -> None:
    """Not as it stands by the time that somebody is told."""
    since = version(rooms)
    rooms.gone("Session/pc07")
    rooms.apply(session(8, state="stopped").replace("{name: pc08}", "{name: pc08, labels: {rack: '4'}}"))
    swap(rooms)
    assert [said for _, said in streamed(rooms, since, 4)] == MOVED


def test_a_machine_that_only_changes_takes_nobody_along(rooms: Served) -> None:
    since = version(rooms)
    rooms.apply(machine(7).replace("address", "hostname: other, address"))
    rooms.apply(machine(7).replace("{room: main}", "{room: main, rack: '4'}"))
    assert [said for _, said in streamed(rooms, since, 2)] == [("MODIFIED", "Machine", "pc07")] * 2
