"""Hints from the file system come soon, outlive a folder that goes away, and stop as soon as they are told to."""

import time
from pathlib import Path

import anyio
import pytest

from controller.adapters.hostwatch import HostWatch
from controller.adapters.watch import follow

pytestmark = pytest.mark.anyio


async def _until_told(file: Path, told: list[frozenset[str]]) -> None:
    with anyio.fail_after(30):
        while not told:
            file.write_text("touched")
            await anyio.sleep(0.05)


async def test_a_change_is_told_with_its_path_and_watching_stops_at_once(tmp_path: Path) -> None:
    told: list[frozenset[str]] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow, [tmp_path], told.append)
        await _until_told(tmp_path / "file", told)
        began = time.monotonic()
        tasks.cancel_scope.cancel()
    assert str(tmp_path / "file") in told[0]
    assert time.monotonic() - began < 4, "watchfiles itself looks for a cancellation every five seconds"


async def test_a_folder_that_is_not_there_silences_no_other(tmp_path: Path) -> None:
    told: list[frozenset[str]] = []
    there = tmp_path / "there"
    there.mkdir()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(HostWatch((tmp_path / "absent", there)).run, told.append)
        await _until_told(there / "file", told)
        tasks.cancel_scope.cancel()
    assert all(path.startswith(str(there)) for burst in told for path in burst)


async def test_a_folder_that_was_replaced_is_followed_again(tmp_path: Path) -> None:
    told: list[frozenset[str]] = []
    folder = tmp_path / "folder"
    folder.mkdir()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(HostWatch((folder,)).run, told.append)
        await _until_told(folder / "file", told)
        (folder / "file").unlink()
        folder.rmdir()
        folder.mkdir()
        await anyio.sleep(0.5)
        told.clear()
        await _until_told(folder / "file", told)
        tasks.cancel_scope.cancel()


async def test_following_ends_when_there_is_nothing_to_follow(tmp_path: Path) -> None:
    with anyio.fail_after(30):
        await follow([tmp_path / "absent"], lambda paths: None)
