"""Threads that may be left behind: a call into the kernel can hang for ever, and then only its object may suffer.

A pool's thread that hangs would block its pool, and the interpreter's exit; these are daemon threads, about 16 at once. A
job that overruns its deadline is abandoned: its slot is given back, its object is fenced off until the thread returns, and
the thread does nothing more of it once it does, because it asks before each call (``Job.check``). A thread that has
returned waits for the next job for a while: to start one costs as much as most jobs do.
"""

import asyncio
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

import anyio

T = TypeVar("T")
_Work = Callable[[], None]
_IDLE_SECONDS = 10.0


class Job:
    """What a thread and the one who waits for it know of each other. ``at`` is the call that it is in."""

    def __init__(self) -> None:
        self._abandoned = False  # read by one thread and written by another: a bool is as good as an Event, and quicker
        self._finished = threading.Event()
        self.at = "not started"

    def check(self, call: str) -> None:
        """Before each call that may block: goes no further when nobody waits any more."""
        if self._abandoned:
            raise Abandoned
        self.at = call

    def abandon(self) -> None:
        self._abandoned = True

    def finish(self) -> None:
        self._finished.set()

    @property
    def running(self) -> bool:
        return not self._finished.is_set()

    @property
    def hung(self) -> bool:
        return self.running and self._abandoned


class Stuck(Exception):
    """An earlier job on the same object has not returned, or this one did not in time."""

    def __init__(self, message: str, job: Job) -> None:
        super().__init__(message)
        self.job = job


class Abandoned(BaseException):
    """Raised inside a job that nobody waits for any more, at its next check."""


class Workers:
    def __init__(self, at_once: int = 16) -> None:
        self._slots = anyio.CapacityLimiter(at_once)
        self._jobs: dict[Hashable, Job] = {}
        self._idle: list[SimpleQueue[_Work]] = []

    def fence(self, key: Hashable, job: Job) -> None:
        """No other job on ``key`` until this one has returned."""
        self._jobs[key] = job

    def hung(self, key: Hashable) -> str | None:
        """The call in which a job on ``key`` was left behind and still is."""
        job = self._jobs.get(key)
        return job.at if job and job.hung else None

    async def run(self, key: Hashable, work: Callable[[Job], T], deadline: float) -> T:
        """``work``'s result or exception. Stuck at once if another job has ``key``, or after ``deadline`` seconds."""
        earlier = self._jobs.get(key)
        if earlier and earlier.running:
            raise Stuck(f"an earlier call has not returned: {earlier.at}", earlier)
        job = self._jobs[key] = Job()
        try:
            async with self._slots:
                done = self._start(key, job, work)
                with anyio.move_on_after(deadline):
                    return (await done)()
                raise Stuck(f"the kernel has not answered within {deadline:g} s: {job.at}", job)
        finally:
            job.abandon()
            if job.at == "not started" or not job.running:
                self._forget(key, job)

    def _start(self, key: Hashable, job: Job, work: Callable[[Job], T]) -> "asyncio.Future[Callable[[], T]]":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Callable[[], T]] = loop.create_future()
        job.at = "starting"

        def finish(outcome: Callable[[], T]) -> None:
            self._forget(key, job)
            if not done.done():
                done.set_result(outcome)

        def act() -> None:
            threading.current_thread().name = f"worker {key}"
            outcome = _outcome(job, work)
            job.finish()
            with suppress(RuntimeError):  # the loop has gone: nobody waits
                loop.call_soon_threadsafe(finish, outcome)

        self._hand(act)
        return done

    def _hand(self, work: _Work) -> None:
        """To the thread that was the last to have nothing to do, or to a new one."""
        try:
            queue = self._idle.pop()
        except IndexError:
            queue = SimpleQueue()
            threading.Thread(target=_serve, args=(queue, self._idle), daemon=True).start()
        queue.put(work)

    def _forget(self, key: Hashable, job: Job) -> None:
        if self._jobs.get(key) is job:
            del self._jobs[key]


def _serve(queue: SimpleQueue[_Work], idle: list[SimpleQueue[_Work]]) -> None:
    """A thread's life: what is in its queue, until nothing has come for a while."""
    while True:
        try:
            work = queue.get(timeout=_IDLE_SECONDS)
        except Empty:
            try:
                idle.remove(queue)
            except ValueError:
                continue  # somebody has just taken it from there: work is on its way
            return
        work()
        idle.append(queue)


def _outcome(job: Job, work: Callable[[Job], T]) -> Callable[[], T]:
    try:
        result = work(job)
    except BaseException as error:  # noqa: BLE001 - handed to the one who waits, whatever it is
        failure = error

        def fail() -> T:
            raise failure

        return fail
    return lambda: result
