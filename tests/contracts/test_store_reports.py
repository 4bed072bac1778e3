"""What every store does with observations, events, revisions and leases."""

from dataclasses import replace

import pytest

from controller.ports.store import Event, Fenced, Lease, NotFound, Store
from tests.contracts.stores import NOW, event, later, revision, store

__all__ = ["store"]
pytestmark = pytest.mark.anyio


async def leased(store: Store, holder: str = "a") -> Lease:
    lease = await store.acquire("server", holder, NOW, 30)
    assert lease is not None
    return lease


async def test_observations_are_written_where_they_differ(store: Store) -> None:
    lease = await leased(store)
    assert await store.report(lease, observations={"a": '{"x": 1}', "b": "", "c": None}) == 2
    assert await store.observations() == {"a": '{"x": 1}', "b": ""}
    assert await store.report(lease, observations={"a": '{"x": 1}', "b": "2"}) == 1
    assert await store.report(lease, observations={"a": None, "c": None}) == 1
    assert await store.observations() == {"b": "2"}


async def test_observations_are_found_by_how_their_key_begins(store: Store) -> None:
    lease = await store.acquire("server", "a", NOW, 30)
    assert lease is not None
    await store.report(lease, observations={"m/a": "1", "m/b%": "2", "M/a": "3", "m_a": "4", "ma": "5", "b%x": "6"})
    assert await store.observations("m/") == {"m/a": "1", "m/b%": "2"}
    assert await store.observations("b%") == {"b%x": "6"}
    assert await store.observations("x") == {}


async def test_events_of_one_key_type_and_reason_are_one(store: Store) -> None:
    await store.tell([event("Machine/pc1", at=5), event("Machine/pc1", "Drifted", at=6)])
    await store.tell([event("Machine/pc1", at=9, message="once more"), event("Machine/pc1", at=7, count=2, message="again")])
    repaired = Event("Machine/pc1", "Normal", "Repaired", "again", later(5), later(9), 4)
    assert await store.events() == [repaired, event("Machine/pc1", "Drifted", at=6)]
    await store.tell([replace(repaired, type="Warning")])
    assert len(await store.events()) == 3


async def test_events_are_read_by_key_the_last_told_first(store: Store) -> None:
    await store.tell([event("Machine/pc1"), event("Machine/pc2")])
    await store.tell([])
    await store.tell([event("Machine/pc1", "Drifted")])
    assert [(one.key, one.reason) for one in await store.events("Machine/pc1")] == [
        ("Machine/pc1", "Drifted"),
        ("Machine/pc1", "Repaired"),
    ]
    assert [one.reason for one in await store.events(limit=2)] == ["Drifted", "Repaired"]
    assert await store.events("Machine/pc3") == []


async def test_the_newest_events_are_kept_and_a_few_more(store: Store) -> None:
    for number in range(100):
        await store.tell([event("often"), event(f"Machine/pc{number}")])
    kept = [one.key for one in await store.events(limit=1000)]
    assert 32 <= len(kept) <= 32 + 4
    assert set(kept) >= {"often", *(f"Machine/pc{number}" for number in range(70, 100))}


async def test_an_event_may_say_what_no_database_can_hold(store: Store) -> None:
    await store.tell([event("a", message="nul \0 and half a character \udcff")])
    (told,) = await store.events()
    assert told.message.startswith("nul ")


async def test_an_event_of_the_older_of_two_controllers_is_not_told(store: Store) -> None:
    old = await leased(store)
    await store.report(old, events=[event("a")])
    await leased(store)
    with pytest.raises(Fenced):
        await store.report(old, events=[event("b")])
    assert [one.key for one in await store.events()] == ["a"]


async def test_revisions_are_listed_the_last_received_first(store: Store) -> None:
    problem = {"file": "a.yaml", "line": 3, "message": "unknown field"}
    refused = revision("c2", at=2, verdict="refused", problems=(problem,))
    await store.record(revision("c1", at=1))
    await store.record(refused)
    await store.record(revision("x", at=3, source="other"))
    assert await store.revisions("main") == [refused, revision("c1", at=1)]
    assert [one.sha for one in await store.revisions(limit=2)] == ["x", "c2"]


async def test_the_same_revision_again_changes_nothing_but_the_times(store: Store) -> None:
    await store.record(revision("c1", verdict="guarded"))
    await store.approve("main", "c1")
    await store.record(revision("c1", at=9, verdict="guarded", message="other", author="Eve"))
    assert await store.revisions() == [revision("c1", at=9, verdict="guarded", approved=True)]
    await store.record(revision("c1", at=10))
    assert [one.verdict for one in await store.revisions()] == ["accepted", "guarded"]


async def test_a_revision_converges_once_and_only_if_accepted(store: Store) -> None:
    await store.record(revision("c1"))
    await store.record(revision("c1", verdict="guarded"))
    await store.converged("main", "c1", later(4))
    await store.converged("main", "c1", later(8))
    await store.converged("main", "unknown", later(8))
    found = {one.verdict: one.converged_at for one in await store.revisions()}
    assert found == {"accepted": later(4), "guarded": None}


async def test_only_a_revision_that_the_guard_held_is_approved(store: Store) -> None:
    await store.record(revision("c1", verdict="refused"))
    with pytest.raises(NotFound, match="c1"):
        await store.approve("main", "c1")


async def test_a_commit_message_may_be_hostile(store: Store) -> None:
    await store.record(revision("c1", author="'; DROP TABLE objects; --\0", message="\udc80 \N{SNOWMAN}"))
    (found,) = await store.revisions()
    assert found.author.startswith("'; DROP TABLE objects; --")
    assert found.message.endswith("\N{SNOWMAN}")


async def test_a_lease_is_held_by_one_until_it_expires(store: Store) -> None:
    lease = await store.acquire("server", "a", NOW, 30)
    assert lease == Lease("server", "a", 1, later(30))
    assert await store.acquire("server", "b", later(29), 30) is None
    assert await store.lease("server") == lease
    assert (await store.acquire("other", "b", NOW, 30)) == Lease("other", "b", 1, later(30))
    assert await store.acquire("server", "b", later(30), 30) == Lease("server", "b", 2, later(60))
    assert await store.lease("nobody") is None


async def test_each_acquisition_has_its_own_epoch(store: Store) -> None:
    first, second = await leased(store), await leased(store)
    assert (first.epoch, second.epoch) == (1, 2)
    with pytest.raises(Fenced):
        await store.renew(first, NOW, 30)


async def test_a_renewed_lease_keeps_its_epoch(store: Store) -> None:
    renewed = await store.renew(await leased(store), later(20), 30)
    assert renewed == Lease("server", "a", 1, later(50))
    assert await store.acquire("server", "b", later(40), 30) is None


async def test_a_lease_that_was_never_given_fences(store: Store) -> None:
    with pytest.raises(Fenced):
        await store.renew(Lease("server", "a", 1, later(30)), NOW, 30)
    with pytest.raises(Fenced):
        await store.report(Lease("server", "a", 1, later(30)), observations={})


async def test_a_released_lease_is_free_and_its_epoch_spent(store: Store) -> None:
    lease = await leased(store)
    await store.release(lease)
    assert await store.lease("server") is None
    with pytest.raises(Fenced):
        await store.report(lease, observations={})
    new = await store.acquire("server", "b", NOW, 30)
    assert new == Lease("server", "b", 2, later(30))
    await store.release(lease)
    assert await store.lease("server") == new


async def test_it_answers(store: Store) -> None:
    await store.ping()
