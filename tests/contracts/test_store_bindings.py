"""Who is bound to what, in both databases."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest

from controller.adapters.store import SqlStore
from controller.adapters.store_bindings import MOST
from controller.ports.accounts import User
from controller.ports.permission import Binding, TooMany, Widens
from controller.ports.store import NotFound
from tests.contracts.stores import NOW, TOLD, later

pytestmark = pytest.mark.anyio


NAMES = ("ada", "ada2", "eve", *(f"user{number}" for number in range(10)))


def account(name: str) -> User:
    return User(name, str(uuid.uuid4()), "VIEWER", "no hash", NOW)


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    opened = SqlStore(url)
    for name in NAMES:
        await opened.add_user(account(name), TOLD)
    yield opened
    await opened.close()


def binding(number: int, user: str = "ada", *, narrows: bool = False) -> Binding:
    return Binding(f"{number:036}", user, ("start", "stop"), "room=main", narrows, later(number), "admin")


async def test_what_was_bound_is_read_back_by_user_and_age(store: SqlStore) -> None:
    made = [binding(3, "eve"), binding(2), binding(1)]
    for one in made:
        await store.bind(one, TOLD)
    assert await store.bindings() == [made[2], made[1], made[0]]
    assert made[0].created_at > NOW


async def test_an_unbound_binding_is_gone_and_answered(store: SqlStore) -> None:
    await store.bind(binding(1), TOLD)
    assert await store.unbind(binding(1).id, lambda _: TOLD) == binding(1)
    assert await store.bindings() == []
    for unknown in (binding(1).id, "x" * 100, "'; DROP TABLE bindings; --"):
        with pytest.raises(NotFound):
            await store.unbind(unknown, lambda _: TOLD)


async def test_the_last_that_narrows_goes_only_when_that_is_wanted(store: SqlStore) -> None:
    for one in (binding(1, narrows=True), binding(2, narrows=True), binding(3), binding(4, "eve", narrows=True)):
        await store.bind(one, TOLD)
    await store.unbind(binding(1).id, lambda _: TOLD)
    with pytest.raises(Widens, match="ada"):
        await store.unbind(binding(2).id, lambda _: TOLD)
    await store.unbind(binding(3).id, lambda _: TOLD)
    await store.unbind(binding(2).id, lambda _: TOLD, widen=True)
    assert [one.user for one in await store.bindings()] == ["eve"]


async def test_of_two_that_take_the_last_two_away_at_once_one_finds_out(store: SqlStore) -> None:
    ends: list[str] = []

    async def unbind(number: int) -> None:
        try:
            await store.unbind(binding(number).id, lambda _: TOLD)
            ends.append("gone")
        except Widens:
            ends.append("widens")

    for round_ in range(10):
        ends.clear()
        pair = (2 * round_ + 1, 2 * round_ + 2)
        for number in pair:
            await store.bind(binding(number, f"user{round_}", narrows=True), TOLD)
        async with anyio.create_task_group() as tasks:
            for number in pair:
                tasks.start_soon(unbind, number)
        assert sorted(ends) == ["gone", "widens"]


async def test_a_user_has_a_bounded_number_of_bindings(store: SqlStore) -> None:
    for number in range(MOST):
        await store.bind(binding(number), TOLD)
    with pytest.raises(TooMany, match="ada"):
        await store.bind(binding(MOST), TOLD)
    await store.bind(replace(binding(MOST), user="eve"), TOLD)


async def test_they_go_with_the_account_and_no_others(store: SqlStore) -> None:
    for one in (binding(1, narrows=True), binding(2), binding(3, "eve"), binding(4, "ada2")):
        await store.bind(one, TOLD)
    await store.remove_user("ada", "account:ada", TOLD)
    assert {one.user for one in await store.bindings()} == {"eve", "ada2"}
    await store.add_user(account("ada"), TOLD)
    assert {one.user for one in await store.bindings()} == {"eve", "ada2"}


async def test_nobody_is_bound_who_has_no_account(store: SqlStore) -> None:
    for name in ("nobody", "Ada", "ada ", ""):
        with pytest.raises(NotFound):
            await store.bind(binding(1, name), TOLD)
    assert await store.bindings() == []
