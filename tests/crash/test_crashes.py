"""P4: the process may die before and after every call, and a new one with no memory finishes the work."""

import anyio
import pytest

from tests.crash.explore import CORE, MORE, Story, explore


@pytest.mark.parametrize("story", CORE, ids=lambda story: story.name)
def test_a_crash_at_any_call_loses_nothing_and_makes_nothing_twice(story: Story) -> None:
    assert anyio.run(explore, story) == []


@pytest.mark.parametrize("story", MORE, ids=lambda story: story.name)
def test_a_crash_at_any_seventh_call_loses_nothing_and_makes_nothing_twice(story: Story) -> None:
    assert anyio.run(lambda: explore(story, every=7)) == []
