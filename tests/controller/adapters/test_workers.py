"""Threads that may be left behind, and are used again where they need not be."""

import threading

import pytest

from controller.adapters.workers import Job, Stuck, Workers
from tests.api.live.stands import until

pytestmark = pytest.mark.anyio


async def who(workers: Workers, key: str) -> int:
    return await workers.run(key, lambda job: threading.get_ident(), 60)


async def test_a_thread_that_has_returned_does_the_next_job() -> None:
    workers = Workers()
    assert len({await who(workers, f"job{number}") for number in range(20)}) <= 2, (
        "it may not be back when the next is given"
    )


async def test_so_does_one_whose_job_failed() -> None:
    workers = Workers()

    def fail(job: Job) -> int:
        raise OSError(threading.get_ident())

    failed = set()
    for number in range(40):
        with pytest.raises(OSError, match=r"\d+") as error:
            await workers.run(f"job{number}", fail, 60)
        failed.add(error.value.args[0])
    assert len(failed) < 20


async def test_one_that_hangs_is_given_nothing_until_it_is_back_and_others_go_on() -> None:
    workers, back, hung = Workers(at_once=2), threading.Event(), list[int]()

    def hang(job: Job) -> None:
        hung.append(threading.get_ident())
        job.check("the kernel")
        back.wait(60)

    with pytest.raises(Stuck, match="the kernel"):
        await workers.run("it", hang, 0.05)
    with pytest.raises(Stuck, match="has not returned"):
        await who(workers, "it")
    assert workers.hung("it") == "the kernel"
    assert {await who(workers, f"other{number}") for number in range(5)}.isdisjoint(hung)
    back.set()
    await until(lambda: workers.hung("it") is None, 30)
    assert await who(workers, "it")
