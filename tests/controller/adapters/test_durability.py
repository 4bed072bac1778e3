import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.adapters.durability import write_through, written_through
from tests.contracts.pool_bench import mounted, why_no_mount

MOUNTS = pytest.mark.skipif(why_no_mount() is not None, reason=str(why_no_mount()))


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder / "disk", os.O_RDWR | os.O_CREAT)
    try:
        yield fd
    finally:
        os.close(fd)


@MOUNTS
def test_a_file_is_written_through_for_as_long_as_that_is_asked(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    with whole.open("wb") as image:
        image.truncate(16 << 20)
    assert os.spawnlp(os.P_WAIT, "mke2fs", "mke2fs", "-q", "-t", "ext4", str(whole)) == 0
    with mounted(tmp_path / "place", "-o", "loop", str(whole)) as place, opened(place) as fd:
        for durable in (True, True, False, True):
            write_through(fd, durable=durable)
            assert written_through(fd) is durable


@MOUNTS
def test_a_file_system_in_memory_is_asked_for_nothing(tmp_path: Path) -> None:
    """Newer kernels give its files flags, and refuse this one."""
    with mounted(tmp_path / "place", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as place, opened(place) as fd:
        for durable in (True, False):
            write_through(fd, durable=durable)
            assert written_through(fd) is None
