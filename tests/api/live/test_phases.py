"""The counts by phase are those of the objects, whatever has changed."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.live.phases import Phases
from controller.ports.store import StatusWrite
from tests.api.live.stands import Stand
from tests.contracts.stores import NOW

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Move:
    what: str
    number: int
    phase: str


moves = st.lists(
    st.builds(
        Move,
        st.sampled_from(["add", "drop", "phase", "look", "look", "forget"]),
        st.integers(1, 3),
        st.sampled_from(["Ready", "Failed", "Active"]),
    ),
    max_size=25,
)


@given(moves)
async def test_the_counts_are_those_of_the_objects(moves: list[Move]) -> None:
    stand = Stand()
    phases = Phases(stand.mirror)
    lease = await stand.store.acquire("controller/default", "t", NOW, 30)
    assert lease is not None
    for move in [*moves, Move("look", 1, "")]:
        there = (await stand.store.fetch([f"Machine/pc{move.number}"])).get(f"Machine/pc{move.number}")
        if move.what == "add" and there is None:
            await stand.add(move.number)
        elif move.what == "drop" and there is not None:
            await stand.drop(move.number)
        elif move.what == "phase" and there is not None:
            write = StatusWrite(there.key, there.metadata.uid or "", {"phase": move.phase})
            await stand.store.report(lease, statuses=[write])
        elif move.what == "look":
            await stand.mirror.fresh()
            now = Counter((one.kind, one.status.phase if one.status else "Pending") for one in stand.mirror.objects.values())
            assert {place: count for place, count in phases.counts.items() if count} == dict(now)
        elif move.what == "forget":
            stand.mirror._loaded = False
