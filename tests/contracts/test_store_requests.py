"""What every store does with a request that is sent twice."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import pytest

from controller.ports.requests import Asked, InProgress, Kept, KeyReused, Record, Requests, Ticket
from controller.ports.store import Applied, Conflict, Store
from manifests.kinds import Object
from tests.contracts.stores import API, NOW, later, machine, store

__all__ = ["store"]
pytestmark = pytest.mark.anyio
ASKED = Asked(API, "POST", "/api/v1/machines", "key-1", "d" * 64)
HOURS = 3600.0


class Both(Store, Requests, Protocol):
    """All of it is one database."""


async def begun(store: Both, asked: Asked = ASKED, at: float = 0) -> Ticket:
    ticket = await store.begin(asked, later(at))
    assert isinstance(ticket, Ticket)
    return ticket


def told(applied: Applied, objects: Mapping[str, Object]) -> Kept:
    return Kept(201, f"{applied.created} {[one.metadata.generation for one in objects.values()]}", '"1"')


async def test_the_answer_is_kept_with_the_change(store: Both) -> None:
    await store.put([machine()], API, NOW, record=Record(await begun(store), told))
    assert await store.begin(ASKED, later(1)) == Kept(201, "('Machine/pc1',) [1]", '"1"')


async def test_a_change_that_fails_leaves_no_answer(store: Both) -> None:
    ticket = await begun(store)
    with pytest.raises(Conflict):
        await store.put([machine()], API, NOW, expect={"Machine/pc1": 7}, record=Record(ticket, told))
    with pytest.raises(InProgress):
        await store.begin(ASKED, later(1))
    await store.keep(ticket, Kept(412, "{}"))
    assert await store.begin(ASKED, later(1)) == Kept(412, "{}")


async def test_a_change_whose_answer_cannot_be_kept_is_not_made(store: Both) -> None:
    def broken(applied: Applied, objects: Mapping[str, Object]) -> Kept:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.put([machine()], API, NOW, record=Record(await begun(store), broken))
    assert await store.list() == ([], 0)
    with pytest.raises(InProgress):
        await store.begin(ASKED, later(1))


async def test_a_request_that_is_under_way_is_not_begun_again(store: Both) -> None:
    await begun(store)
    with pytest.raises(InProgress):
        await store.begin(ASKED, later(59))


@pytest.mark.parametrize("done", [True, False])
async def test_the_same_key_with_another_request_is_refused(store: Both, done: bool) -> None:
    ticket = await begun(store)
    if done:
        await store.keep(ticket, Kept(200, "{}"))
    with pytest.raises(KeyReused):
        await store.begin(replace(ASKED, digest="e" * 64), later(1))


@pytest.mark.parametrize("change", [{"principal": "api:bob"}, {"method": "PUT"}, {"path": "/x"}, {"key": "key-2"}])
async def test_a_key_is_of_one_person_at_one_address(store: Both, change: dict[str, str]) -> None:
    await begun(store)
    await begun(store, replace(ASKED, **change))


async def test_an_abandoned_request_is_the_first_again_and_an_answered_one_is_not(store: Both) -> None:
    ticket = await begun(store)
    await store.abandon(ticket)
    again = await begun(store)
    await store.keep(again, Kept(200, "{}"))
    await store.abandon(again)
    assert await store.begin(ASKED, NOW) == Kept(200, "{}")


async def test_who_died_with_a_ticket_changes_nothing_any_more(store: Both) -> None:
    """The first stalls for a minute and comes back: the second has it by then."""
    first = await begun(store)
    second = await begun(store, at=60)
    with pytest.raises(InProgress):
        await store.put([machine()], API, NOW, record=Record(first, told))
    assert await store.list() == ([], 0)
    await store.keep(first, Kept(200, "wrong"))
    await store.abandon(first)
    await store.put([machine()], API, NOW, record=Record(second, told))
    with pytest.raises(InProgress):
        await store.put([machine("pc2")], API, NOW, record=Record(second, told))
    assert [one.key for one in (await store.list())[0]] == ["Machine/pc1"]


async def test_an_answer_is_kept_for_a_day(store: Both) -> None:
    await store.keep(await begun(store), Kept(200, "{}"))
    assert await store.begin(ASKED, later(24 * HOURS - 1)) == Kept(200, "{}")
    assert isinstance(await store.begin(ASKED, later(24 * HOURS)), Ticket)
