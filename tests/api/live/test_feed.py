"""Every change once and in order to each listener, whatever it missed, however slow the others are."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import pytest

from api.live.choice import EVERYTHING, Selection, Wanted
from api.live.feed import STILL_HERE, Ended, Feed, Slow
from api.live.told import Told
from api.watch import wanted
from controller.ports.store import Gone, StoreError
from manifests.kinds import Object
from tests.api.live.stands import Stand, until

pytestmark = pytest.mark.anyio


@dataclass
class Token:
    """``ask`` is what has to be asked whether it is good still; None: it is, as everybody knows."""

    ask: Callable[[], Awaitable[bool]] | None = None
    looked: int = 0

    def good(self) -> bool:
        self.looked += 1
        return self.ask is None

    async def still(self) -> bool:
        assert self.ask is not None
        return await self.ask()


async def take(told: AsyncIterator[Sequence[Told]], count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with anyio.fail_after(60):
        async with aclosing(told) as lines:  # type: ignore[type-var]
            async for some in lines:
                found += [json.loads(one.text) for one in some]
                if len(found) >= count:
                    break
    return found


def said(changes: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    return [(one["resourceVersion"], one["type"], one["object"]["metadata"]["name"]) for one in changes]


async def listen(stand: Stand, since: int | None, wants: Wanted, count: int) -> list[dict[str, Any]]:
    return await take(stand.feed.listen(await stand.feed.start(since), wants, 60, Token()), count)


async def test_what_was_missed_is_told_from_memory_and_beyond_it_from_the_log() -> None:
    for remembered in (50, 2):
        stand = Stand(remembered=remembered)
        await stand.mirror.fresh()
        for number in range(1, 7):
            await stand.add(number)
            await stand.mirror.fresh()
        stand.store.asked.clear()
        assert said(await listen(stand, 2, EVERYTHING, 4)) == [(n, "ADDED", f"pc{n}") for n in range(3, 7)]
        assert ("changes" in stand.store.asked) is (remembered == 2)


async def test_nothing_is_lost_or_doubled_between_the_past_and_the_present() -> None:
    stand = Stand(remembered=5)
    await stand.add(*range(1, 21))
    found: list[list[dict[str, Any]]] = []

    async def one(since: int) -> None:
        found.append(await listen(stand, since, EVERYTHING, 60 - since))

    async with stand.telling() as tasks:
        for since in range(0, 20, 3):
            tasks.start_soon(one, since)
        for number in range(21, 61):
            await stand.add(number)
            await stand.mirror.fresh()
            await anyio.lowlevel.checkpoint()
    for changes in found:
        versions = [change["resourceVersion"] for change in changes]
        assert versions == list(range(versions[0], 61))
    assert stand.feed.listeners == 0


@dataclass
class Line:
    """A connection: what was pushed to it, and what its task wrote, in the order in which it went out. It refuses
    ``full`` of its pushes, and its task is as slow as a client's network."""

    chance: Random
    full: float
    heard: list[int] = field(default_factory=list)
    pushed: int = 0

    def push(self, data: bytes) -> bool:
        if self.chance.random() < self.full:
            return False
        self.heard += [int(line[4:]) for line in data.splitlines() if line.startswith(b"id: ")]
        self.pushed += 1
        return True

    async def follow(self, stand: Stand, since: int) -> None:
        lines = stand.feed.listen(since, EVERYTHING, 0.005, Token(), self.push)
        async with aclosing(lines):  # type: ignore[type-var]
            async for told in lines:
                await anyio.sleep(self.chance.random() / 1000)
                self.heard += [one.version for one in told]


@pytest.mark.parametrize("full", [0.0, 0.3, 1.0])
async def test_nothing_is_lost_doubled_or_out_of_order_between_what_is_pushed_and_what_a_task_says(full: float) -> None:
    stand, chance = Stand(remembered=50), Random(7)
    await stand.add(*range(1, 21))
    await stand.mirror.fresh()
    lines = [Line(chance, full) for _ in range(40)]
    async with stand.telling() as tasks:
        for at, line in enumerate(lines):
            tasks.start_soon(line.follow, stand, at % 20)
        for number in range(21, 199, 2):
            await stand.add(number, number + 1)
            await stand.mirror.fresh()
            if chance.random() < 0.4:  # otherwise several batches come at once
                await anyio.sleep(chance.choice((0, 0.01)))
        await until(lambda: all(line.heard[-1:] == [198] for line in lines), 60)
        await anyio.sleep(0.02)  # now they only wait
        await stand.add(199, 200)
        await stand.mirror.fresh()
        await until(lambda: all(line.heard[-1:] == [200] for line in lines), 60)
        tasks.cancel_scope.cancel()
    for at, line in enumerate(lines):
        assert line.heard == list(range(at % 20 + 1, 201))
    assert (sum(line.pushed for line in lines) > 0) is (full < 1)


async def test_one_that_does_not_keep_up_is_dropped_and_the_others_are_not() -> None:
    stand = Stand(behind=5)
    start = await stand.feed.start(None)
    slow, quick = stand.feed.listen(start, EVERYTHING, 60, Token()), stand.feed.listen(start, EVERYTHING, 60, Token())
    seen: list[int] = []

    async def keep_up() -> None:
        async for told in quick:
            seen.extend(one.version for one in told)

    async with stand.telling() as tasks:
        tasks.start_soon(keep_up)
        await stand.add(1)
        await stand.mirror.fresh()
        assert [one.version for one in await anext(slow)] == [1]
        for number in range(2, 12):
            await stand.add(number)
            await stand.mirror.fresh()
            await anyio.sleep(0.001)
        await until(lambda: len(seen) == 11, 60)
        with pytest.raises(Slow):
            await anext(slow)
        tasks.cancel_scope.cancel()
    assert seen == list(range(1, 12))


async def test_what_enters_a_selection_is_added_and_what_leaves_it_is_deleted() -> None:
    stand = Stand()
    start = await stand.feed.start(None)
    for number, labels in ((1, "main"), (2, "lab"), (2, "main"), (1, "lab"), (1, "attic")):
        await stand.add(number, room=labels)
        await stand.mirror.fresh()
    await stand.drop(2)
    await stand.mirror.fresh()
    changes = await listen(stand, start, wanted("machines", "room=main"), 5)
    assert said(changes) == [
        (1, "ADDED", "pc1"),
        (3, "ADDED", "pc2"),
        (4, "DELETED", "pc1"),
        (6, "MODIFIED", "pc2"),
        (7, "DELETED", "pc2"),
    ]
    assert set(changes[2]["object"]) == {"apiVersion", "kind", "metadata"}


async def test_who_was_away_for_long_does_not_change_what_others_are_told() -> None:
    """From the log a change is told with the object as it stands by now: for those who remember, it stood otherwise."""
    stand = Stand(remembered=2)
    await stand.mirror.fresh()
    for labels in ({"room": "main"}, {"room": "main", "rack": "4"}, {"room": "lab", "secret": "yes"}):
        await stand.add(1, **labels)
        await stand.mirror.fresh()
    assert [version for version, _, _ in said(await listen(stand, 0, EVERYTHING, 3))] == [1, 2, 3]
    changed, left = await listen(stand, 1, Selection(labels="room=main"), 2)
    assert changed["object"]["metadata"]["labels"] == {"room": "main", "rack": "4"}
    assert (left["type"], left["object"]["metadata"]) == ("DELETED", {"name": "pc1"})


@pytest.mark.parametrize("remembered", [50, 2])
async def test_a_deletion_is_told_without_what_came_in_its_place(remembered: int) -> None:
    """All of it was committed between two looks."""
    stand = Stand(remembered=remembered)
    await stand.add(1)
    await stand.mirror.fresh()
    await stand.drop(1)
    await stand.add(1)
    changes = await listen(stand, 1, EVERYTHING, 3)
    assert said(changes) == [(2, "MODIFIED", "pc1"), (3, "DELETED", "pc1"), (4, "ADDED", "pc1")]
    assert ["spec" in one["object"] for one in changes] == [True, False, True]


async def test_silence_has_a_heartbeat_past_the_task_or_by_it() -> None:
    stand, heard = Stand(), list[bytes]()

    def push(data: bytes) -> bool:
        heard.append(data)
        return len(heard) < 4

    start = await stand.feed.start(None)
    async with stand.telling():
        async with aclosing(stand.feed.listen(start, EVERYTHING, 0.02, Token())) as lines:  # type: ignore[type-var]
            with anyio.fail_after(30):
                assert [await anext(lines) for _ in range(3)] == [[], [], []]
        async with aclosing(stand.feed.listen(start, EVERYTHING, 0.02, Token(), push)) as lines:  # type: ignore[type-var]
            with anyio.fail_after(30):
                assert await anext(lines) == []
    assert heard == [STILL_HERE] * 4


async def test_what_the_log_no_longer_holds_is_said_before_the_stream_begins() -> None:
    stand = Stand(remembered=2)
    stand.store._changes_kept = 3
    for number in range(1, 9):
        await stand.add(number)
        await stand.mirror.fresh()
    for since in (1, 99):
        with pytest.raises(Gone):
            await stand.feed.start(since)


async def test_who_listens_while_changes_are_missed_is_told() -> None:
    stand = Stand()
    stand.store._changes_kept = 3
    lines = stand.feed.listen(await stand.feed.start(None), EVERYTHING, 60, Token())

    async with anyio.create_task_group() as tasks:

        async def hear() -> None:
            with pytest.raises(Gone):
                await anext(lines)

        tasks.start_soon(hear)
        await anyio.sleep(0.01)
        await stand.add(*range(1, 12))
        await stand.mirror.fresh()


async def test_whoever_may_listen_no_more_is_told_and_let_go() -> None:
    stand, allowed = Stand(), [True, True, False]

    async def still() -> bool:
        return allowed.pop(0)

    await stand.add(1)
    lines = stand.feed.listen(await stand.feed.start(0), EVERYTHING, 0.02, Token(still))
    assert [one.version for one in await anext(lines)] == [1]
    assert stand.feed.listeners == 1

    async def heartbeats() -> None:
        async for told in lines:
            assert told == []

    async with stand.telling():
        with anyio.fail_after(30), pytest.raises(Ended):
            await heartbeats()
    assert allowed == []
    assert stand.feed.listeners == 0


async def test_whether_one_may_still_listen_is_nothing_to_the_others() -> None:
    """The store does not say it of one, and breaks down over another; a third must go, and a fourth goes on."""
    stand, ended = Stand(), dict[str, type[BaseException]]()

    async def never() -> bool:
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    async def broken() -> bool:
        raise ZeroDivisionError

    async def gone() -> bool:
        return False

    async def hear(name: str, token: Token) -> None:
        try:
            async for told in stand.feed.listen(0, EVERYTHING, 60, token):
                heard[name] = [one.version for one in told]
        except (ZeroDivisionError, Ended) as error:
            ended[name] = type(error)

    heard = dict[str, list[int]]()
    await stand.mirror.fresh()
    async with stand.telling() as tasks:
        for name, ask in {"never": never, "broken": broken, "gone": gone, "good": None}.items():
            tasks.start_soon(hear, name, Token(ask))
        await until(lambda: len(ended) == 2, 20)
        await stand.add(1)
        await stand.mirror.fresh()
        await until(lambda: len(heard) == 2, 20)
        tasks.cancel_scope.cancel()
    assert ended == {"broken": ZeroDivisionError, "gone": Ended}
    assert heard == {"never": [1], "good": [1]}


async def test_what_is_known_of_a_token_is_read_anew_before_each_look_and_none_that_is_good_is_asked_for() -> None:
    read = list[int]()

    async def refresh() -> None:
        read.append(stand.feed.listeners)
        raise StoreError("away: what was known counts")

    async def no() -> bool:
        return False

    async def hear() -> None:
        with pytest.raises(Ended):
            await take(stand.feed.listen(await stand.feed.start(None), EVERYTHING, 60, token), 1)

    stand, token = Stand(), Token()
    stand.feed = Feed(stand.store, stand.mirror, stand.feed._telling._liveness, look_seconds=0.01, refresh=refresh)
    async with stand.telling() as tasks:
        await anyio.sleep(0.05)
        assert read == [], "nobody listens"
        tasks.start_soon(hear)
        await until(lambda: token.looked >= 3, 20)
        assert len(read) >= 3
        token.ask = no
        await until(lambda: stand.feed.listeners == 0, 20)


async def test_what_changes_is_encoded_once_for_all_who_listen() -> None:
    stand = Stand()
    await stand.mirror.fresh()

    async def hear() -> None:
        assert said(await take(stand.feed.listen(0, EVERYTHING, 60, Token()), 1)) == [(1, "ADDED", "pc1")]

    async with stand.telling() as tasks:
        for _ in range(20):
            tasks.start_soon(hear)
        await until(lambda: stand.feed.listeners == 20, 60)
        stand.store.asked.clear()
        await stand.add(1)
        await stand.mirror.fresh()
    assert stand.store.asked.count("lease") == 1


class Asked(Selection):
    """Counts how often it is asked."""

    times: ClassVar[int] = 0

    def __call__(self, key: str, item: Object | None, machine: Object | None = None, /) -> bool:
        Asked.times += 1
        return super().__call__(key, item, machine)


async def test_those_who_choose_alike_are_told_what_was_chosen_once_and_no_others() -> None:
    stand, heard = Stand(), dict[str, list[bytes]]()
    await stand.mirror.fresh()

    async def hear(name: str, labels: str) -> None:
        push = partial(_noted, heard.setdefault(name, []))
        async for _ in stand.feed.listen(0, Asked(labels=labels), 60, Token(), push):
            pass

    async with stand.telling() as tasks:
        for number in range(50):
            tasks.start_soon(hear, f"main{number}", "room=main")
        tasks.start_soon(hear, "lab", "room=lab")
        await until(lambda: stand.feed.listeners == 51, 60)
        await anyio.sleep(0.02)  # now they only wait
        for number, room in ((1, "main"), (2, "lab")):
            await stand.add(number, room=room)
            await stand.mirror.fresh()
        await until(lambda: all(heard.values()), 60)
        tasks.cancel_scope.cancel()
    assert {len(pushed) for pushed in heard.values()} == {1}
    assert b'"pc2"' in heard["lab"][0]
    assert all(b'"pc1"' in heard[f"main{number}"][0] for number in range(50))
    assert Asked.times == 4, "each selection once a change"


def _noted(pushed: list[bytes], data: bytes) -> bool:
    pushed.append(data)
    return True
