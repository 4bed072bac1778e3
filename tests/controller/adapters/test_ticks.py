"""What was changed, looked at and changed again within one tick of the clock is seen as it is."""

import os
from pathlib import Path

import pytest

from controller.adapters import ticks
from controller.adapters.pool_names import Names
from tests.contracts.pool_bench import UID

SECOND = 1_000_000_000


def test_names_that_come_and_go_within_a_tick_are_all_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "overlays"
    folder.mkdir()
    names, mine = Names(folder), f"pc1.os+win11@v3+{UID}.raw"
    for _ in range(200):
        (folder / mine).touch()
        names.refresh()
        assert (list(names.of(["pc1"])), list(names.of(None)), names.carried()) == (
            [mine],
            [mine],
            {"win11": frozenset({3})},
        )
        (folder / mine).unlink()
        names.refresh()
        assert (list(names.of(["pc1"])), list(names.of(None)), names.carried()) == ([], [], {})


@pytest.mark.parametrize(
    ("age", "proves"),
    [(0, False), (1, True), (SECOND, True), (-1, False)],
)
def test_a_stamp_proves_something_when_the_clock_has_gone_on(tmp_path: Path, age: int, proves: bool) -> None:
    there = (tmp_path / "file").stat() if (tmp_path / "file").write_text("x") else None
    assert there is not None
    assert (ticks.stamp(there, there.st_ctime_ns + age) is not None) is proves


def test_a_stamp_without_parts_of_a_second_needs_two(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", ns=(0, (ticks.now() // SECOND + 10) * SECOND))
    there = (tmp_path / "file").stat()
    assert ticks.stamp(there, there.st_mtime_ns + 2 * SECOND) is None
    assert ticks.stamp(there, there.st_mtime_ns + 2 * SECOND + 1) is not None
