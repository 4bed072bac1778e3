"""The copy holds what was committed before it was asked, and costs next to nothing to ask."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters.hints import LocalHints
from controller.ports.store import Gone, StoreError
from manifests.kinds import KINDS, Object
from tests.api.live.stands import Stand, until

pytestmark = pytest.mark.anyio


def names(objects: dict[str, Object]) -> list[str]:
    return sorted(one.name for one in objects.values())


async def test_whatever_was_committed_before_is_in_it() -> None:
    stand = Stand()
    for number in range(1, 6):
        await stand.add(number)
        assert await stand.mirror.fresh()
        assert stand.mirror.objects == {one.key: one for one in (await stand.store.list())[0]}
        assert stand.mirror.known == await stand.store.pulse()


async def test_many_who_ask_at_once_share_a_question() -> None:
    stand = Stand()
    await stand.mirror.fresh()
    stand.store.asked.clear()
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(stand.mirror.fresh)
    assert stand.store.asked in (["pulse"], ["pulse"] * 2)  # the first one's, and one that began after the others asked


async def test_where_nothing_changed_only_the_pulse_is_felt() -> None:
    stand = Stand()
    await stand.add(1)
    await stand.mirror.fresh()
    stand.store.asked.clear()
    await stand.mirror.fresh()
    assert stand.store.asked == ["pulse"]


async def test_while_the_store_is_lost_it_says_so_and_holds_what_it_knew() -> None:
    stand = Stand()
    stand.store.broken = True
    with pytest.raises(StoreError):
        await stand.mirror.fresh()
    stand.store.broken = False
    await stand.add(1)
    assert await stand.mirror.fresh()
    stand.store.broken = True
    assert not await stand.mirror.fresh()
    assert names(stand.mirror.objects) == ["pc1"]
    stand.store.asked.clear()
    assert not await stand.mirror.fresh()
    assert stand.store.asked == []  # a request does not wait for a store that is known not to answer
    stand.store.broken = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stand.mirror.follow)
        await until(lambda: not stand.mirror.lost, 60)
        tasks.cancel_scope.cancel()


async def test_a_hint_wakes_it_and_without_one_it_looks_by_itself() -> None:
    stand, poll = Stand(), LocalHints().poll_seconds
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stand.mirror.follow)
        await until(lambda: stand.mirror.known == 0, 60)
        for hint, most in ((True, poll / 2), (False, 3 * poll)):
            await anyio.sleep(0.05)
            await stand.add(2 if hint else 3)
            if hint:
                stand.hints.tell()
            await until(lambda: stand.mirror.known == stand.store._version, most)
        tasks.cancel_scope.cancel()


async def test_one_that_missed_too_much_reads_everything_anew() -> None:
    stand = Stand()
    stand.store._changes_kept = 3
    await stand.add(1)
    await stand.mirror.fresh()
    await stand.add(*range(2, 12))
    await stand.mirror.fresh()
    assert names(stand.mirror.objects) == sorted(f"pc{number}" for number in range(1, 12))
    assert stand.mirror.known == 11


@given(st.lists(st.tuples(st.sampled_from(["add", "label", "drop"]), st.integers(1, 4)), max_size=30), st.data())
def test_it_knows_how_everything_stood_at_each_moment_that_it_saw(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    async def run() -> None:
        stand = Stand()
        await stand.mirror.fresh()
        seen = {stand.mirror.known: dict(stand.mirror.objects)}
        for at, (what, number) in enumerate(steps):
            if what != "drop":
                await stand.add(number, at=str(at if what == "label" else 0))
            elif f"Machine/pc{number}" in stand.mirror.objects:
                await stand.drop(number)
            await stand.mirror.fresh()
            seen[stand.mirror.known] = dict(stand.mirror.objects)
        for version, objects in seen.items():
            shelves = {kind: list(stand.mirror.at(kind, version)) for kind in KINDS}
            assert {one.key: one for shelf in shelves.values() for one in shelf} == objects
            assert all(shelf == sorted(shelf, key=lambda one: one.name) for shelf in shelves.values())

    anyio.run(run)


async def test_what_is_too_long_ago_is_gone() -> None:
    stand = Stand(remembered=2)
    await stand.mirror.fresh()
    for number in range(1, 5):
        await stand.add(number)
        await stand.mirror.fresh()
    assert [one.name for one in stand.mirror.at("Machine", 2)] == ["pc1", "pc2"]
    for version in (1, 5):
        with pytest.raises(Gone):
            stand.mirror.at("Machine", version)
