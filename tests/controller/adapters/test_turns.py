"""A line: in order, no place lost, and nobody waits for what is not to be had."""

import anyio
import pytest

from controller.adapters.turns import Turns

pytestmark = pytest.mark.anyio


async def test_they_get_on_in_the_order_in_which_they_came() -> None:
    turns, inside, order = Turns(3), [0], list[int]()

    async def work(number: int) -> None:
        async with turns.turn():
            order.append(number)
            inside[0] += 1
            assert inside[0] <= 3
            await anyio.sleep(0.001)
            inside[0] -= 1

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(work, number)
    assert order == list(range(50))


async def test_who_goes_away_takes_no_place_along() -> None:
    turns = Turns(1)
    for _ in range(20):
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with anyio.move_on_after(0.002):
                    async with turns.turn():
                        await anyio.sleep(0.001)

            for _ in range(5):
                tasks.start_soon(wait)
    with anyio.fail_after(1):
        async with turns.turn():
            pass


async def test_who_is_called_as_it_goes_away_passes_the_place_on() -> None:
    turns, got, leaver = Turns(1), list[str](), anyio.CancelScope()

    async def leave() -> None:
        with leaver:
            async with turns.turn():
                got.append("leaver")

    async def last() -> None:
        async with turns.turn():
            got.append("last")

    async with anyio.create_task_group() as tasks, turns.turn():
        for one in (leave, last):
            tasks.start_soon(one)
            await anyio.wait_all_tasks_blocked()
        leaver.cancel()  # it has not run since
    assert got == ["last"]
    with anyio.fail_after(1):
        await last()


async def test_who_is_sent_away_is_told_and_the_next_may_try() -> None:
    turns, sent = Turns(1), list[int]()

    async def wait(number: int) -> None:
        with pytest.raises(TimeoutError):
            async with turns.turn():
                raise AssertionError
        sent.append(number)

    async with anyio.create_task_group() as tasks, turns.turn():
        for number in range(3):
            tasks.start_soon(wait, number)
        await anyio.wait_all_tasks_blocked()
        turns.dismiss()
        await anyio.wait_all_tasks_blocked()
        assert sent == [0, 1, 2]
    async with turns.turn():
        pass
