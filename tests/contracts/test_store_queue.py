"""What every store does with the dirty set."""

from datetime import datetime

import pytest

from controller.ports.store import Claim, Store
from tests.contracts.stores import NOW, later, store

__all__ = ["store"]
pytestmark = pytest.mark.anyio


def keys(claims: object) -> list[str]:
    assert isinstance(claims, list | tuple)
    return [claim.key for claim in claims]


async def only(store: Store, now: datetime = NOW) -> Claim:
    (claim,) = await store.claim(now, 10)
    return claim


async def test_an_empty_set_hands_out_nothing(store: Store) -> None:
    await store.mark([])
    assert keys(await store.claim(NOW, 10)) == []
    await store.done([])
    assert (await store.next_due(), await store.waiting()) == (None, 0)
    assert await store.reopen() == 0


async def test_a_key_is_handed_out_once_and_leaves_when_done(store: Store) -> None:
    await store.mark(["a"])
    claim = await only(store)
    assert (claim.key, claim.attempts) == ("a", 0)
    assert keys(await store.claim(NOW, 10)) == []
    await store.done([claim])
    await store.done([claim])
    assert keys(await store.claim(NOW, 10)) == []


async def test_the_higher_priority_goes_first_and_the_older_within_one(store: Store) -> None:
    for key, priority in (("d", 0), ("c", 5), ("a", 0), ("b", 5)):
        await store.mark([key], priority=priority)
    assert keys(await store.claim(NOW, 10)) == ["c", "b", "d", "a"]


async def test_the_last_place_goes_to_the_oldest_so_that_none_starves(store: Store) -> None:
    """P18: new keys of high priority arrive for ever, and the low one is reached."""
    await store.mark(["old"], priority=-1)
    await store.mark(["new1", "new2", "new3"], priority=9)
    assert keys(await store.claim(NOW, 2)) == ["new1", "old"]
    assert keys(await store.claim(NOW, 1)) == ["new2"]


async def test_marking_twice_keeps_the_higher_priority_the_earlier_time_and_the_place(store: Store) -> None:
    await store.mark(["a"], priority=1, not_before=later(10))
    await store.mark(["b"], priority=2, not_before=later(10))
    await store.mark(["a"], priority=2, not_before=later(20))
    assert await store.waiting() == 2
    assert await store.next_due() == later(10)
    assert keys(await store.claim(later(10), 10)) == ["a", "b"]


async def test_a_key_is_not_handed_out_before_its_time(store: Store) -> None:
    await store.mark(["a"], not_before=later(10))
    assert await store.next_due() == later(10)
    assert keys(await store.claim(later(9.999), 10)) == []
    await store.mark(["a"])
    due = await store.next_due()
    assert due is not None
    assert due < NOW
    assert keys(await store.claim(NOW, 10)) == ["a"]
    assert (await store.next_due(), await store.waiting()) == (None, 1)


async def test_a_key_marked_while_it_is_claimed_is_handed_out_again_after_done(store: Store) -> None:
    """P6: a change that arrives while its key is being processed is processed again."""
    await store.mark(["a", "b"])
    claims = await store.claim(NOW, 10)
    await store.mark(["a"])
    assert keys(await store.claim(NOW, 10)) == []
    await store.done(claims)
    again = await only(store)
    assert again.key == "a"
    await store.done([again])
    assert (await store.next_due(), await store.waiting()) == (None, 0)


async def test_a_mark_for_later_made_while_claimed_is_not_due_at_once(store: Store) -> None:
    """What was claimed is being done already: its old time and priority say nothing of the new mark."""
    await store.mark(["a"], priority=9)
    claim = await only(store)
    await store.mark(["a"], priority=1, not_before=later(3600))
    await store.mark(["b"], priority=5, not_before=later(3600))
    await store.done([claim])
    assert await store.next_due() == later(3600)
    assert keys(await store.claim(later(3600), 10)) == ["b", "a"]


async def test_marks_made_while_claimed_keep_the_higher_priority_and_the_earlier_time(store: Store) -> None:
    await store.mark(["a"])
    claim = await only(store)
    await store.mark(["a"], priority=1, not_before=later(60))
    await store.mark(["a"], priority=7, not_before=later(90))
    await store.mark(["b"], priority=6, not_before=later(60))
    await store.done([claim])
    assert await store.next_due() == later(60)
    assert keys(await store.claim(later(60), 10)) == ["a", "b"]


async def test_a_retry_comes_back_later_with_one_attempt_more(store: Store) -> None:
    await store.mark(["a"])
    await store.retry(await only(store), later(5))
    assert await store.next_due() == later(5)
    assert keys(await store.claim(later(4), 10)) == []
    claim = await only(store, later(5))
    assert claim.attempts == 1
    await store.retry(claim, later(9))
    claim = await only(store, later(9))
    assert claim.attempts == 2
    await store.done([claim])
    await store.mark(["a"])
    assert (await only(store)).attempts == 0


async def test_a_change_that_arrives_during_a_failing_attempt_waits_for_no_back_off(store: Store) -> None:
    await store.mark(["a"])
    claim = await only(store)
    await store.mark(["a"])
    await store.retry(claim, later(60))
    again = await only(store)
    assert again.attempts == 1
    await store.mark(["a"], not_before=later(90))
    await store.retry(again, later(60))
    assert await store.next_due() == later(60)


async def test_a_key_done_after_a_mark_starts_with_no_attempts(store: Store) -> None:
    await store.mark(["a"])
    await store.retry(await only(store), NOW)
    claim = await only(store)
    await store.mark(["a"])
    await store.done([claim])
    assert (await only(store)).attempts == 0


async def test_claims_of_a_dead_process_are_due_again(store: Store) -> None:
    await store.mark(["a", "b"], not_before=later(1))
    stale = await store.claim(later(1), 10)
    await store.mark(["c"])
    assert await store.reopen() == 2
    fresh = await store.claim(later(1), 10)
    assert sorted(keys(fresh)) == ["a", "b", "c"]
    await store.done(stale)
    await store.retry(stale[0], later(50))
    assert await store.reopen() == 3


async def test_a_stale_claim_ends_nobody_elses(store: Store) -> None:
    await store.mark(["a"])
    stale = await only(store)
    await store.retry(stale, NOW)
    fresh = await only(store)
    assert fresh.seq != stale.seq
    await store.done([stale])
    await store.retry(stale, later(50))
    await store.done([fresh])
    assert (await store.next_due(), await store.waiting()) == (None, 0)
