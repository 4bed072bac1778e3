"""Lists: filtered, searched, sorted, and in pages that all show one moment."""

from typing import Any

import pytest

from tests.api.served import IMAGE, NETWORK, Served, machine, session, several


@pytest.fixture
def room(door: Served) -> Served:
    door.lead()
    machines = [machine(number, room="main" if number % 2 else "lab") for number in range(1, 8)]
    door.apply(several(NETWORK, IMAGE, *machines, session(1), session(2, state="stopped")))
    return door


def got(door: Served, plural: str, **params: Any) -> list[str]:
    with door.http as http:
        answer = http.get(f"/api/v1/{plural}", params=params)
        assert answer.status_code == 200, answer.text
        return [item["metadata"]["name"] for item in answer.json()["items"]]


@pytest.mark.parametrize(
    ("plural", "asked", "names"),
    [
        ("machines", {"fieldSelector": "spec.address=10.77.0.53"}, ["pc03"]),
        ("machines", {"fieldSelector": "spec.macs.0=52:54:00:00:00:04,metadata.name!=pc05"}, ["pc04"]),
        ("machines", {"fieldSelector": "metadata.labels.room=lab"}, ["pc02", "pc04", "pc06"]),
        ("machines", {"fieldSelector": "spec.enabled=false"}, []),
        ("sessions", {"fieldSelector": "spec.state=running"}, ["pc01"]),
        ("sessions", {"fieldSelector": "spec.machine!=pc01"}, ["pc02"]),
        ("machines", {"q": "PC07"}, ["pc07"]),
        ("machines", {"q": "00:06"}, ["pc06"]),
        ("machines", {"q": "77.0.52"}, ["pc02"]),
        ("machines", {"q": "room=main", "limit": 2}, ["pc01", "pc03"]),
        ("sessions", {"q": "win11"}, ["pc01", "pc02"]),
        ("machines", {"sort": "-name", "limit": 2}, ["pc07", "pc06"]),
        ("machines", {"sort": "metadata.labels.room", "limit": 4}, ["pc02", "pc04", "pc06", "pc01"]),
        ("sessions", {"sort": "-spec.state"}, ["pc02", "pc01"]),
        ("machines", {"labelSelector": "room=main", "sort": "-createdAt", "q": "pc0", "limit": 1}, ["pc07"]),
    ],
)
def test_a_list_shows_what_was_asked_for_in_the_order_asked_for(
    room: Served, plural: str, asked: dict[str, Any], names: list[str]
) -> None:
    assert got(room, plural, **asked) == names


@pytest.mark.parametrize("sort", ["name", "-name", "metadata.labels.room", "-spec.address"])
def test_the_pages_of_a_list_show_one_moment(room: Served, sort: str) -> None:
    expected = got(room, "machines", sort=sort)
    seen: list[str] = []
    versions: set[int] = set()
    asked: dict[str, Any] = {"limit": 2, "sort": sort}
    with room.http as http:
        for number in range(20, 30):
            page = http.get("/api/v1/machines", params=asked).json()
            seen += [item["metadata"]["name"] for item in page["items"]]
            versions.add(page["metadata"]["resourceVersion"])
            if "continue" not in page["metadata"]:
                break
            asked["continue"] = page["metadata"]["continue"]
            room.apply(several(machine(number), machine(3, room="attic")))
            if number == 20:
                http.delete("/api/v1/machines/pc07").raise_for_status()
                room.gone("Machine/pc07")
    assert seen == expected
    assert len(versions) == 1
    assert len(got(room, "machines")) > len(expected)


@pytest.mark.parametrize(
    "asked",
    [
        {"fieldSelector": "spec.nosuch=1"},
        {"fieldSelector": "status.phase"},
        {"fieldSelector": "status.phase=Ready,"},
        {"fieldSelector": "__class__.__init__=x"},
        {"fieldSelector": "model_config=x"},
        {"fieldSelector": ",".join(f"name!=pc{number}" for number in range(21))},
        {"labelSelector": ",".join(f"!label{number}" for number in range(101))},
        {"sort": "nothing"},
        {"sort": ""},
        {"labelSelector": "room="},
        {"continue": "e30"},
        {"continue": "%%%"},
        {"continue": "WzEsIm4iLCJuIiwieCJd"},
        {"limit": 0},
        {"limit": 10_001},
        {"q": "x" * 257},
        {"nosuch": 1},
    ],
)
def test_what_cannot_be_asked_is_one_problem_that_says_how(room: Served, asked: dict[str, Any]) -> None:
    with room.http as http:
        answer = http.get("/api/v1/machines", params=asked)
    if asked == {"labelSelector": "room="}:  # an empty value is a value
        assert answer.status_code == 200
        return
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error_code"] in ("malformed", "invalid")
    assert answer.json()["detail"]


def test_a_page_of_another_question_is_refused(room: Served) -> None:
    with room.http as http:
        token = http.get("/api/v1/machines", params={"limit": 1}).json()["metadata"]["continue"]
        assert http.get("/api/v1/machines", params={"limit": 5, "continue": token}).status_code == 200
        assert http.get("/api/v1/machines", params={"continue": token, "sort": "-name"}).status_code == 400


def test_the_command_asks_for_the_same(room: Served) -> None:
    done = room.ggnet("get", "machines", "--field-selector", "metadata.labels.room=lab", "--sort-by", "-name", "-o", "name")
    assert done.stdout.split() == ["Machine/pc06", "Machine/pc04", "Machine/pc02"]
    assert room.ggnet("get", "machines", "--search", "00:06", "-o", "name").stdout.split() == ["Machine/pc06"]
    wrong = room.ggnet("get", "machines", "--sort-by", "nothing")
    assert (wrong.returncode, "there is no field 'nothing'" in wrong.stderr) == (5, True)
    assert room.ggnet("get", "machine/pc01", "--search", "x").returncode == 2
