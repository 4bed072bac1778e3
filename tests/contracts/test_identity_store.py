"""What both databases do with accounts, API keys, refresh tokens, failures and revocations."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import anyio
import pytest

from controller.adapters.store import SqlStore
from controller.adapters.store_accounts import MOST
from controller.ports.accounts import ApiKey, Ending, TooManyKeys, User
from controller.ports.logins import Family, IdentityStore, Reused
from controller.ports.store import Conflict, NotFound
from tests.contracts.stores import NOW, TOLD, later

pytestmark = pytest.mark.anyio
WEEK = 7 * 86400
HASH = "$2b$04$hash"


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def store(url: str) -> AsyncIterator[IdentityStore]:
    made = SqlStore(url)
    yield made
    await made.close()


def user(name: str = "ada", uid: str = "u1") -> User:
    return User(name, uid, "OPERATOR", HASH, NOW)


def key(id: str = "k1", owner: str | None = "u1", expires: datetime | None = None) -> ApiKey:
    return ApiKey(id, owner, "ci", "d" * 64, ("read", "write"), NOW, expires)


async def changed(store: IdentityStore, name: str, **wanted: Any) -> User:
    return (await store.change_user(name, told=lambda _: TOLD, **wanted))[0]


async def opened(store: IdentityStore, family: Family, digest: str, now: datetime, expires: datetime) -> None:
    await store.open_family(family, digest, now, expires, password=HASH, told=TOLD)


async def rotated(store: IdentityStore, digest: str, successor: str, now: datetime, expires: datetime) -> Family | None:
    return await store.rotate(digest, successor, now, expires, until=later(90), told=lambda _: TOLD)


async def test_a_user_is_read_as_it_was_added(store: IdentityStore) -> None:
    assert await store.user("ada") is None
    assert await store.add_user(user(), TOLD)
    assert await store.user("ada") == user()
    await opened(store, Family("f1", "u1"), "r1", later(5), later(WEEK))
    assert await store.user("ada") == replace(user(), last_login=later(5))


async def test_a_name_is_taken_once(store: IdentityStore) -> None:
    await store.add_user(user(), TOLD)
    assert not await store.add_user(user(uid="u2"), TOLD)
    assert (await store.users())[0].uid == "u1"


async def test_users_come_by_name_in_pages(store: IdentityStore) -> None:
    for name in ("b", "a-b", "a", "a.b"):
        await store.add_user(user(name, f"uid-{name}"), TOLD)
    assert [one.name for one in await store.users()] == ["a", "a-b", "a.b", "b"]
    assert [one.name for one in await store.users("a", 2)] == ["a-b", "a.b"]


async def test_a_change_leaves_what_it_does_not_name(store: IdentityStore) -> None:
    await store.add_user(user(), TOLD)
    assert await changed(store, "ada", role="VIEWER") == replace(user(), role="VIEWER")
    assert await changed(store, "ada", disabled=True) == replace(user(), role="VIEWER", disabled=True)
    after = await changed(store, "ada", password="other", if_password=HASH)
    assert after == await store.user("ada") == replace(user(), role="VIEWER", disabled=True, password="other")
    with pytest.raises(Conflict):
        await changed(store, "ada", password="third", if_password=HASH)
    with pytest.raises(NotFound, match="bob"):
        await changed(store, "bob", role="ADMIN")


async def test_a_removed_user_takes_logins_and_keys_along(store: IdentityStore) -> None:
    await store.add_user(user(), TOLD)
    await store.add_key(key(), TOLD)
    await store.add_key(key("k2", None), TOLD)
    await opened(store, Family("f1", "u1"), "r1", NOW, later(WEEK))
    assert (await store.remove_user("ada", "account:ada", TOLD)).uid == "u1"
    assert [one.id for one in await store.keys()] == ["k2"]
    assert await rotated(store, "r1", "r2", later(1), later(WEEK)) is None
    with pytest.raises(NotFound):
        await store.remove_user("ada", "account:ada", TOLD)
    with pytest.raises(NotFound):
        await store.add_key(key("k3"), TOLD)
    with pytest.raises(Conflict):
        await opened(store, Family("f2", "u1"), "r3", NOW, later(WEEK))


@pytest.mark.parametrize("meanwhile", [{"password": "other"}, {"disabled": True}])
async def test_nobody_is_logged_in_by_what_stood_until_a_moment_ago(store: IdentityStore, meanwhile: Any) -> None:
    await store.add_user(user(), TOLD)
    await changed(store, "ada", **meanwhile)
    with pytest.raises(Conflict):
        await opened(store, Family("f1", "u1"), "r1", NOW, later(WEEK))
    assert await rotated(store, "r1", "r2", NOW, later(WEEK)) is None


async def test_the_directory_is_read_again_only_when_it_changed(store: IdentityStore) -> None:
    first = await store.directory()
    assert first is not None
    assert (first.users, first.keys) == ({}, {})
    assert await store.directory(first.version) is None
    changes = (
        lambda: store.add_user(user(), TOLD),
        lambda: changed(store, "ada", role="ADMIN"),
        lambda: store.add_key(key(expires=later(60)), TOLD),
        lambda: store.rotate_key("k1", "e" * 64, TOLD),
    )
    version = first.version
    for change in changes:
        await change()
        found = await store.directory(version)
        assert found is not None
        version = found.version
    assert found is not None
    assert found.users["u1"].role == "ADMIN"
    assert found.keys == {"k1": replace(key(expires=later(60)), digest="e" * 64)}
    await opened(store, Family("f1", "u1"), "r1", NOW, later(WEEK))
    await store.key_used("k1", NOW, 60)
    assert await store.directory(version) is None
    await store.remove_key("k1", TOLD)
    assert await store.directory(version) is not None


async def test_an_owner_has_a_bounded_number_of_keys(store: IdentityStore) -> None:
    await store.add_user(user(), TOLD)
    ends: list[str] = []

    async def add(number: int) -> None:
        try:
            await store.add_key(key(f"k{number}"), TOLD)
            ends.append("added")
        except TooManyKeys:
            ends.append("refused")

    for number in range(MOST - 2):
        await add(number)
    async with anyio.create_task_group() as tasks:
        for number in range(MOST, MOST + 6):
            tasks.start_soon(add, number)
    assert (ends.count("added"), ends.count("refused")) == (MOST, 4)
    await store.add_key(key("local", None), TOLD)
    assert len(await store.keys()) == MOST + 1


async def test_a_keys_use_is_written_once_a_while(store: IdentityStore) -> None:
    await store.add_key(key(owner=None), TOLD)
    for second, written in ((0, 0), (59, 0), (60, 60), (100, 60), (121, 121)):
        await store.key_used("k1", later(second), 60)
        assert (await store.keys())[0].last_used == later(written)


async def test_what_is_not_there_cannot_be_rotated_or_removed(store: IdentityStore) -> None:
    with pytest.raises(NotFound, match="k1"):
        await store.rotate_key("k1", "e" * 64, TOLD)
    with pytest.raises(NotFound, match="k1"):
        await store.remove_key("k1", TOLD)


async def test_a_refresh_token_works_once_and_its_second_use_ends_the_family(store: IdentityStore) -> None:
    await store.add_user(user(), TOLD)
    family = Family("f1", "u1")
    await opened(store, family, "r1", NOW, later(WEEK))
    assert await rotated(store, "r1", "r2", later(1), later(WEEK)) == family
    assert await rotated(store, "r2", "r3", later(2), later(WEEK)) == family
    with pytest.raises(Reused) as reused:
        await rotated(store, "r1", "r4", later(3), later(WEEK))
    assert reused.value.family == family
    assert await store.revoked(later(4)) == {"f1": later(90)}
    for dead in ("r1", "r2", "r3", "r4"):
        assert await rotated(store, dead, "r5", later(4), later(WEEK)) is None


async def test_of_two_that_use_one_token_at_once_one_is_told(store: IdentityStore) -> None:
    await store.add_user(user(), TOLD)
    await opened(store, Family("f1", "u1"), "r1", NOW, later(WEEK))
    ends: list[str] = []

    async def use(successor: str) -> None:
        try:
            found = await rotated(store, "r1", successor, later(1), later(WEEK))
            ends.append("rotated" if found else "refused")
        except Reused:
            ends.append("reused")

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(use, f"s{number}")
    assert sorted(ends) == ["refused", "refused", "reused", "rotated"]


async def test_an_expired_refresh_token_is_none(store: IdentityStore) -> None:
    await store.add_user(user(), TOLD)
    await opened(store, Family("f1", "u1"), "r1", NOW, later(60))
    assert await rotated(store, "r1", "r2", later(60), later(WEEK)) is None
    await opened(store, Family("f2", "u1"), "r3", later(61), later(WEEK))  # and takes the expired away
    assert await rotated(store, "r1", "r4", later(62), later(WEEK)) is None


async def test_a_family_lives_as_long_as_its_last_token(store: IdentityStore) -> None:
    await store.add_user(user(), TOLD)
    await opened(store, Family("f1", "u1"), "r1", NOW, later(60))
    await rotated(store, "r1", "r2", later(50), later(110))
    await opened(store, Family("f2", "u1"), "r9", later(100), later(WEEK))
    assert await rotated(store, "r2", "r3", later(105), later(WEEK)) == Family("f1", "u1")


async def test_families_are_closed_but_for_one(store: IdentityStore) -> None:
    await store.add_user(user(), TOLD)
    await store.add_user(user("bob", "u2"), TOLD)
    for id, owner in (("f1", "u1"), ("f2", "u1"), ("f3", "u1"), ("f4", "u2")):
        await opened(store, Family(id, owner), f"r-{id}", NOW, later(WEEK))
    await store.close_family("f3", NOW, later(90), TOLD)
    ended = await store.change_user("ada", password=HASH, ends=Ending(NOW, later(91), keep="f1"), told=lambda _: TOLD)
    assert ended == (replace(user(), last_login=NOW), ["f2"])
    assert await store.revoked(NOW) == {"f2": later(91), "f3": later(90)}
    open_ones = [id for id in ("f1", "f2", "f3", "f4") if await rotated(store, f"r-{id}", f"s-{id}", NOW, later(WEEK))]
    assert open_ones == ["f1", "f4"]
    assert (await store.change_user("ada", disabled=True, ends=Ending(NOW, later(90)), told=lambda _: TOLD))[1] == ["f1"]


async def test_as_many_failures_lock_for_as_long(store: IdentityStore) -> None:
    for second in range(4):
        await store.failed(["a", "b"], later(second), 5, 900)
    assert await store.locked(["a", "b"], later(4)) == {}
    await store.failed(["a"], later(4), 5, 900)
    assert await store.locked(["a", "b", "c"], later(5)) == {"a": later(904)}
    await store.failed(["a"], later(600), 5, 900)
    assert await store.locked(["a"], later(903)) == {"a": later(904)}  # no failure makes it longer
    assert await store.locked(["a"], later(904)) == {}
    assert await store.locked([], NOW) == {}


async def test_failures_far_apart_lock_nothing(store: IdentityStore) -> None:
    for number in range(10):
        await store.failed(["a"], later(number * 901), 5, 900)
    assert await store.locked(["a"], later(9 * 901)) == {}


async def test_forgiven_failures_count_no_more(store: IdentityStore) -> None:
    for _ in range(5):
        await store.failed(["a"], NOW, 5, 900)
    await store.forgive("a")
    for _ in range(4):
        await store.failed(["a"], NOW, 5, 900)
    assert await store.locked(["a"], NOW) == {}
    await store.failed(["a"], NOW, 5, 900)
    assert "a" in await store.locked(["a"], NOW)


async def test_no_failure_is_lost_when_many_come_at_once(store: IdentityStore) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(store.failed, ["a", f"x{number}"], NOW, 12, 900)
    assert await store.locked(["a"], NOW) == {"a": later(900)}


async def test_what_is_revoked_stays_so_until_it_expires(store: IdentityStore) -> None:
    await store.revoke(["j1", "f1"], NOW, later(60))
    await store.revoke(["j1"], later(1), later(90))
    await store.revoke([], later(2), later(90))
    assert await store.revoked(later(3)) == {"j1": later(90), "f1": later(60)}
    await store.revoke(["j2"], later(70), later(130))
    assert await store.revoked(later(70)) == {"j1": later(90), "j2": later(130)}
