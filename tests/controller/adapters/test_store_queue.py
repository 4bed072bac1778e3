"""The dirty set against its law, for stories that nobody thought of."""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from controller.adapters.store import SqlStore
from controller.ports.store import Claim, Store
from tests.contracts.stores import later
from tests.fakes_store import MemoryStore

KEYS = st.sampled_from("abcd")
TIMES = st.one_of(st.none(), st.integers(-5, 15).map(later))


class DirtySet(RuleBasedStateMachine):
    """Both stores hear the same story and must tell the same; ``owed`` are keys marked since they were handed out."""

    migrated: Path

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="ggnet-dirty-"))
        path = shutil.copy(self.migrated, self.folder / "ggnet.db")
        self.stores: list[Store] = [MemoryStore(), SqlStore(f"sqlite:///{path}")]
        self.now = 0
        self.owed: set[str] = set()
        self.held: list[tuple[Claim, ...]] = []

    @rule(keys=st.sets(KEYS), priority=st.integers(-1, 1), time=TIMES)
    def mark(self, keys: set[str], priority: int, time: datetime | None) -> None:
        self.owed |= keys
        for store in self.stores:
            self.loop.run(store.mark(keys, priority=priority, not_before=time))

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        both = [self.loop.run(store.claim(later(self.now), limit)) for store in self.stores]
        for one, other in zip(*both, strict=True):
            assert (one.key, one.attempts) == (other.key, other.attempts)
            self.held.append((one, other))
            self.owed.discard(one.key)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), stays=st.booleans())
    def done(self, data: st.DataObject, stays: bool) -> None:
        """``stays``: the same claim may be heard of again, from a process that was thought dead."""
        claims = self._held(data, stays)
        for store, claim in zip(self.stores, claims, strict=True):
            self.loop.run(store.done([claim]))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), stays=st.booleans(), time=st.integers(-5, 15))
    def retry(self, data: st.DataObject, stays: bool, time: int) -> None:
        claims = self._held(data, stays)
        for store, claim in zip(self.stores, claims, strict=True):
            self.loop.run(store.retry(claim, later(self.now + time)))

    def _held(self, data: st.DataObject, stays: bool) -> Sequence[Claim]:
        index = data.draw(st.integers(0, len(self.held) - 1))
        return self.held[index] if stays else self.held.pop(index)

    @rule()
    def restart(self) -> None:
        one, other = [self.loop.run(store.reopen()) for store in self.stores]
        assert one == other

    @rule(seconds=st.integers(1, 10))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        one, other = [self.loop.run(store.next_due()) for store in self.stores]
        assert one == other

    def teardown(self) -> None:
        """P6: with all claims given back, every key that is owed a look gets it."""
        try:
            for store in self.stores:
                self.loop.run(store.reopen())
                found = {claim.key for claim in self.loop.run(store.claim(later(10_000), 100))}
                assert self.owed <= found
        finally:
            for store in self.stores:
                self.loop.run(store.close())
            self.loop.close()
            shutil.rmtree(self.folder)


def test_both_stores_tell_the_same_of_the_dirty_set_and_lose_no_mark(migrated_file: Path) -> None:
    story = type("Story", (DirtySet,), {"migrated": migrated_file})
    bounds = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a story of 25 steps is short enough to read
    )
    run_state_machine_as_test(story, settings=bounds)


@pytest.mark.anyio
async def test_many_keys_are_claimed_and_done_as_sets(sqlite_url: str) -> None:
    store = await SqlStore.open(sqlite_url)
    keys = [f"Machine/pc{number}" for number in range(3000)]
    await store.mark(keys)
    claims = await store.claim(later(0), 5000)
    assert sorted(claim.key for claim in claims) == sorted(keys)
    await store.done(claims)
    assert await store.next_due() is None
    await store.close()
