"""Two writers: nobody undoes what he has not seen."""

import threading
from collections.abc import Callable

import httpx
import pytest

from api.errors import Malformed
from api.preconditions import tags
from tests.api.served import Served, machine

PC7 = "/api/v1/machines/pc07"
WRITERS, ROUNDS = 8, 3


def version(http: httpx.Client) -> str:
    return str(http.get(PC7).headers["etag"]).strip('"')


def together(work: Callable[[int], None]) -> None:
    """Eight at once; what one of them raises is raised."""
    failed: list[BaseException] = []

    def guarded(writer: int) -> None:
        try:
            work(writer)
        except BaseException as error:  # noqa: BLE001 handed to the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_eight_writers_count_with_if_match_and_lose_nothing(either: Served) -> None:
    with either.http as http:
        http.patch(PC7, json={"metadata": {"labels": {"count": "0"}}}).raise_for_status()

    def count(writer: int) -> None:
        with either.http as http:
            done = 0
            while done < ROUNDS:
                read = http.get(PC7)
                number = int(read.json()["metadata"]["labels"]["count"]) + 1
                change = {"metadata": {"labels": {"count": str(number)}}}
                answer = http.patch(PC7, json=change, headers={"If-Match": read.headers["etag"]})
                assert answer.status_code in (200, 412), answer.text
                done += answer.status_code == 200

    together(count)
    with either.http as http:
        assert http.get(PC7).json()["metadata"]["labels"]["count"] == str(WRITERS * ROUNDS)


@pytest.mark.parametrize("header", [{}, {"If-Match": "*"}])
def test_eight_writers_of_any_version_each_keep_their_part(either: Served, header: dict[str, str]) -> None:
    def write(writer: int) -> None:
        with either.signed(**header) as http:
            for number in range(ROUNDS):
                answer = http.patch(PC7, json={"metadata": {"labels": {f"w{writer}-{number}": "yes"}}})
                assert answer.status_code in (200, 412), answer.text
                while answer.status_code == 412:
                    answer = http.patch(PC7, json={"metadata": {"labels": {f"w{writer}-{number}": "yes"}}})

    together(write)
    with either.http as http:
        labels = http.get(PC7).json()["metadata"]["labels"]
        assert len([name for name in labels if name.startswith("w")]) == WRITERS * ROUNDS


def test_of_eight_that_create_one_does(either: Served) -> None:
    codes: list[int] = []

    def create(writer: int) -> None:
        with either.http as http:
            headers = {"If-None-Match": "*"}
            codes.append(
                http.put("/api/v1/machines/pc09", content=machine(9, room=f"r{writer}"), headers=headers).status_code
            )
            codes.append(http.post("/api/v1/machines", content=machine(10, room=f"r{writer}")).status_code)

    together(create)
    assert sorted(codes) == [201, 201, *[409] * 7, *[412] * 7]


def test_if_match_takes_weak_tags_and_lists(site: Served) -> None:
    with site.http as http:
        for number, form in enumerate(('"{}"', 'W/"{}"', '"1", "{}"', 'W/"{}" ,"999999"', '"x,y", "{}", "3"', "{}", "*")):
            answer = http.patch(
                PC7, json={"spec": {"hostname": f"h{number}"}}, headers={"If-Match": form.format(version(http))}
            )
            assert answer.status_code == 200, form
        for form in ('"1"', '"1", "2"', '"99999"', '"abc"', '"1", "abc"', '""'):
            for answer in (
                http.patch(PC7, json={"spec": {"hostname": "no"}}, headers={"If-Match": form}),
                http.put(PC7, content=machine(7), headers={"If-Match": form}),
                http.delete(PC7, headers={"If-Match": form}),
                http.delete(PC7, headers={"If-Match": form}, params={"force": "true"}),
            ):
                assert (answer.status_code, answer.json()["error_code"]) == (412, "conflict"), form
        assert "deletedAt" not in http.get(PC7).json()["metadata"]
        assert http.get(PC7).json()["spec"]["hostname"] == "h6"


@pytest.mark.parametrize("header", ["", "latest", '"1', '1"', '"1" "2"', "W/1", "*, *", '"\t"', "1" * 19])
def test_a_header_that_holds_no_tag_is_one_problem_with_its_field(site: Served, header: str) -> None:
    with site.http as http:
        answer = http.patch(PC7, json={}, headers={"If-Match": header})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "If-Match")
        assert http.put(PC7, content=machine(7), headers={"If-None-Match": header}).status_code == 400


def test_no_list_of_tags_takes_long_to_read() -> None:
    assert tags("If-Match", ",".join(f'"{number}"' for number in range(500))) == frozenset(map(str, range(500)))
    for text in (" " * 4096, '"' * 4096, "," * 4095 + "x", 'W/"' * 1000):
        with pytest.raises(Malformed):
            tags("If-Match", text)


def test_if_none_match_creates_and_never_replaces(site: Served) -> None:
    with site.http as http:
        headers = {"If-None-Match": "*"}
        assert http.put("/api/v1/machines/pc09", content=machine(9), headers=headers).status_code == 201
        assert http.put("/api/v1/machines/pc09", content=machine(9), headers=headers).status_code == 412
        same = {"If-None-Match": f'"{version(http)}"'}
        assert http.put(PC7, content=machine(7), headers=same).status_code == 412
        assert http.put(PC7, content=machine(7), headers={"If-None-Match": '"1"'}).status_code == 200


def test_a_version_in_the_body_counts_where_no_header_does(site: Served) -> None:
    with site.http as http:
        read = http.get(PC7).json()
        http.patch(PC7, json={"spec": {"hostname": "theirs"}}).raise_for_status()
        old = read["metadata"]["resourceVersion"]
        assert http.put(PC7, json=read).status_code == 412
        stale = {"metadata": {"resourceVersion": old}, "spec": {"hostname": "mine"}}
        assert http.patch(PC7, json=stale).status_code == 412
        other = http.get("/api/v1/machines/pc08").json()
        http.delete("/api/v1/machines/pc08").raise_for_status()
        site.gone("Machine/pc08")
        assert http.put("/api/v1/machines/pc08", json=other).status_code == 412, "it was read, and is gone"
        fresh = {"metadata": {"resourceVersion": version(http)}, "spec": {"hostname": "mine"}}
        assert http.patch(PC7, json=fresh).json()["spec"]["hostname"] == "mine"


def test_a_status_that_moves_on_refuses_no_edit(site: Served) -> None:
    with site.http as http:
        read = http.get(PC7).headers["etag"]
        site.reach("Machine/pc07", "Ready")
        assert http.get(PC7).headers["etag"] != read
        assert http.patch(PC7, json={"spec": {"hostname": "x"}}, headers={"If-Match": read}).status_code == 200
