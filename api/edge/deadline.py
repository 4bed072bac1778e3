"""Until when a request may take: what ``asyncio.timeout`` does, in a third of its time, because every request has one."""

import asyncio


class Deadline:
    """Of the task that makes it, which is cancelled when it is reached; then ``passed`` says so, and takes it back."""

    __slots__ = ("_loop", "_reached", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._loop, self._reached = task, asyncio.get_running_loop(), False
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(seconds, self._reach)

    def move(self, seconds: float | None) -> None:
        """To so many seconds from now; None: never."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._reach)

    def passed(self) -> bool:
        """Whether it was this that cancelled the task, and nobody else did too."""
        return self._reached and self._task.uncancel() <= 0

    def _reach(self) -> None:
        self._timer, self._reached = None, True
        self._task.cancel()
