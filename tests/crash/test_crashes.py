"""P4: the process may die before and after every call, and a new one with no memory finishes the work."""

import anyio
import pytest

from tests.crash.explore import CORE, FROM_ELSEWHERE, MORE, SNAPSHOTS, Story, explore
from tests.crash.world import of_snapshots

DISKS = "pool.create_overlay pool.create_store pool.activate_overlay pool.remove_device pool.delete_overlay"


@pytest.mark.parametrize("story", CORE, ids=lambda story: story.name)
def test_a_crash_at_any_call_loses_nothing_and_makes_nothing_twice(story: Story) -> None:
    assert anyio.run(explore, story) == []


@pytest.mark.parametrize("story", MORE, ids=lambda story: story.name)
def test_a_crash_at_any_seventh_call_loses_nothing_and_makes_nothing_twice(story: Story) -> None:
    assert anyio.run(lambda: explore(story, every=7)) == []


def test_a_crash_while_images_are_fetched_and_uploads_removed_leaves_nothing_of_them() -> None:
    calls = "pool.fetch_source pool.import_image pool.discard_source"
    assert anyio.run(lambda: explore(FROM_ELSEWHERE, calls=calls)) == []


@pytest.mark.parametrize("story", SNAPSHOTS, ids=lambda story: story.name)
def test_a_crash_at_any_call_that_makes_or_mends_a_snapshot_leaves_no_device_and_no_store(story: Story) -> None:
    assert anyio.run(lambda: explore(story, make=of_snapshots, calls=DISKS)) == []
    assert anyio.run(lambda: explore(story, make=of_snapshots, every=17)) == []
