"""A chain of rows shows what was done to it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.chain import START, Check, Finding, Link, Mark, Said, seal


def said(text: str) -> Said:
    return Said("2026-01-05T12:00:00.000000+00:00", "a" * 64, "r", "update", "ok", "Machine/pc1", None, 1, None, text)


def chain(length: int, start: Mark = START) -> list[Link]:
    links, mark = list[Link](), start
    for seq in range(start.seq + 1, start.seq + length + 1):
        what = said(f'"{seq}"')
        links.append(Link(seq, what, mark.hash, seal(mark.hash, seq, what)))
        mark = Mark(seq, links[-1].hash)
    return links


def found(links: list[Link], head: Mark, start: Mark = START, noted: Mark | None = None) -> list[tuple[str, int, int]]:
    check = Check(start, noted)
    check.feed(links[:3])
    check.feed(links[3:])
    return [(one.kind, one.first, one.last) for one in check.finish(head)]


def mark(link: Link) -> Mark:
    return Mark(link.seq, link.hash)


def renumbered(links: list[Link], by: int) -> list[Link]:
    return [link._replace(seq=link.seq + by) for link in links]


def forged(previous: str, seq: int) -> Link:
    what = said('"forged"')
    return Link(seq, what, previous, seal(previous, seq, what))


def swapped(links: list[Link]) -> list[Link]:
    return [*links[:4], links[5]._replace(seq=5), links[4]._replace(seq=6), *links[6:]]


CASES: dict[str, tuple[Callable[[list[Link]], list[Link]], list[tuple[str, int, int]]]] = {
    "nothing": (lambda links: links, []),
    "altered": (lambda links: [*links[:4], links[4]._replace(said=said("x")), *links[5:]], [("altered", 5, 5)]),
    "altered hash": (lambda links: [*links[:4], links[4]._replace(hash="f" * 64), *links[5:]], [("altered", 5, 5)]),
    "altered first": (lambda links: [links[0]._replace(said=said("x")), *links[1:]], [("altered", 1, 1)]),
    "altered last": (lambda links: [*links[:9], links[9]._replace(said=said("x"))], [("altered", 10, 10)]),
    "replaced": (lambda links: [*links[:4], forged(links[3].hash, 5), *links[5:]], [("replaced", 5, 5)]),
    "replaced last": (lambda links: [*links[:9], forged(links[8].hash, 10)], [("head", 10, 10)]),
    "removed": (lambda links: [*links[:4], *links[7:]], [("removed", 5, 7)]),
    "removed first": (lambda links: links[2:], [("removed", 1, 2)]),
    "removed last": (lambda links: links[:7], [("removed", 8, 10)]),
    "removed all": (lambda links: [], [("removed", 1, 10)]),
    "removed and closed up": (
        lambda links: [*links[:4], *renumbered(links[5:], -1)],
        [("moved", 5, 9), ("removed", 5, 5)],
    ),
    "inserted": (
        lambda links: [*links[:4], forged(links[3].hash, 5), *renumbered(links[4:], 1)],
        [("inserted", 5, 6), ("moved", 6, 11)],
    ),
    "inserted behind": (lambda links: [*links, forged(links[9].hash, 11)], [("inserted", 11, 11)]),
    "swapped": (swapped, [("moved", 5, 5), ("moved", 6, 6)]),
    "moved to the front": (
        lambda links: [links[9]._replace(seq=1), *renumbered(links[:9], 1)],
        [("moved", 1, 1), ("moved", 2, 10)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_done_is_named_with_the_row(case: str) -> None:
    act, wanted = CASES[case]
    links = chain(10)
    assert found(act(links), mark(links[-1])) == wanted


def test_a_chain_that_goes_on_from_a_checkpoint_is_whole() -> None:
    start = Mark(1000, "c" * 64)
    links = chain(5, start)
    assert found(links, mark(links[-1]), start) == []
    assert found(links, mark(links[-1]), Mark(1000, "d" * 64)) == [("checkpoint", 1000, 1001)]
    assert found(links[1:], mark(links[-1]), start) == [("removed", 1001, 1001)]


def test_a_chain_written_anew_is_found_by_a_head_that_was_noted() -> None:
    honest = chain(10)
    anew = [forged(START.hash, 1), *chain(9, mark(forged(START.hash, 1)))]
    noted = mark(honest[6])
    assert found(honest, mark(honest[-1]), noted=noted) == []
    assert found(honest, mark(honest[-1]), noted=Mark(0, noted.hash)) == []
    assert found(anew, mark(anew[-1])) == []
    assert found(anew, mark(anew[-1]), noted=noted) == [("noted", 7, 7)]
    assert found(honest[:5], mark(honest[4]), noted=noted) == [("noted", 7, 7)]


def test_a_million_rows_that_do_not_fit_are_no_million_findings() -> None:
    links = [link._replace(said=said("x")) for link in chain(2000)]
    check = Check()
    check.feed(links)
    (finding,) = check.finish(mark(links[-1]))
    assert finding == Finding("altered", 1, 200, finding.message)
    assert "1800 more" in finding.message


@given(st.data())
def test_no_single_change_goes_unseen(data: st.DataObject) -> None:
    links = chain(8)
    at = data.draw(st.integers(0, 7))
    field = data.draw(st.sampled_from(Said._fields))
    changed: Any = 2 if field == "times" else "other"
    altered = links[at]._replace(said=links[at].said._replace(**{field: changed}))
    assert found([*links[:at], altered, *links[at + 1 :]], mark(links[-1])) == [("altered", at + 1, at + 1)]


@given(st.lists(st.integers(0, 9), unique=True, min_size=10, max_size=10))
def test_every_other_order_is_seen(order: list[int]) -> None:
    links = chain(10)
    shuffled = [links[place]._replace(seq=seq) for seq, place in enumerate(order, start=1)]
    findings = found(shuffled, mark(links[-1]))
    assert (findings == []) == (order == list(range(10)))
    assert {kind for kind, _, _ in findings} <= {"moved"}
