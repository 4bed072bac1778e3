"""However many failures there are: few rows, and none forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from controller.core.floods import Flood


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 30)), max_size=300))
def test_every_failure_is_told_once_by_the_end(tries: list[tuple[int, float]]) -> None:
    flood, now, told = Flood[int](), 1000.0, 0
    for key, wait in tries:
        now += wait
        told += sum(count for _, count in flood.count(key, now))
    told += sum(count for _, count in flood.count(-1, now + 60))
    assert told == len(tries) + 1


def test_the_first_is_told_at_once_and_a_million_in_twenty_rows() -> None:
    flood = Flood[str]()
    assert flood.count("ada", 5.0) == [("ada", 1)]
    rows = [row for _ in range(999_999) for row in flood.count("ada", 6.0)]
    assert len(rows) == 19
    assert sum(count for _, count in rows) > 500_000


def test_names_without_end_are_one_more_name() -> None:
    flood = Flood[int](most=20)
    rows = [row for name in range(100_000) for row in flood.count(name, 1.0)]
    assert len(rows) < 40
    assert {key for key, _ in rows} == {*range(20), None}


def test_a_new_minute_tells_what_is_left_of_the_old_one() -> None:
    flood = Flood[str]()
    for _ in range(7):
        flood.count("ada", 1.0)
    assert flood.count("ben", 60.9) == [("ben", 1)]
    assert flood.count("ben", 61.0) == [("ada", 3), ("ben", 1)]
