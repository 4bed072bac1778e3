"""One look at one target, and the next one, which asks the same again.

What is asked follows from what was answered: where the same calls get the same answers, the target is as it was, and
nothing is worked out anew. Of the answers a hash is kept; of the calls, which differ between targets by little but the
machine's name, a pattern that they share.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from controller.adapters import lio_read as read
from controller.adapters.configfs import ReadableFs
from controller.core.observed import TargetState

_BETWEEN, _MACHINE = "\0", "\1"
_PATTERNS = 4096


class Once:
    """A ReadableFs for one look: nothing is asked twice, so that the look is cheap and says one thing of each part.

    ``heard`` are the answers by call and path, that of a failed call as the kernel's number for it.
    """

    def __init__(self, fs: ReadableFs) -> None:
        self._fs = fs
        self.heard: dict[tuple[str, str], Any] = {}

    def read(self, path: str) -> Any:
        return self._ask("read", self._fs.read, path)

    def readlink(self, path: str) -> Any:
        return self._ask("readlink", self._fs.readlink, path)

    def listdir(self, path: str) -> Any:
        return self._ask("listdir", self._fs.listdir, path)

    def exists(self, path: str) -> Any:
        return self._ask("exists", self._fs.exists, path)

    def _ask(self, what: str, ask: Callable[[str], Any], path: str) -> Any:
        found = self.heard.get((what, path))
        if found is None:
            try:
                found = self.heard[what, path] = ask(path)
            except OSError as error:
                self.heard[what, path] = error.errno or 0
                raise
        elif type(found) is int:
            raise OSError(found, os.strerror(found), path)
        return found


@dataclass(frozen=True, slots=True)
class Seen:
    """A target's state, and what was asked and answered to know it."""

    machine: str
    state: TargetState
    calls: str
    answers: int

    @classmethod
    def of(cls, once: Once, machine: str, state: TargetState) -> "Seen | None":
        """None where secrets were read, which are not asked for only to be compared; and where names are too strange."""
        calls = _BETWEEN.join(word for call in once.heard for word in call)
        if "/auth/" in calls or _MACHINE in calls:
            return None
        answers = (_told(path, told) for (_, path), told in once.heard.items())
        return cls(machine, state, _shared(calls.replace(machine, _MACHINE)), _hash(answers))

    def still(self, fs: ReadableFs) -> bool:
        """Whether it is as it was."""
        words = self.calls.replace(_MACHINE, self.machine).split(_BETWEEN)
        return _hash(map(partial(_asked, fs), words[::2], words[1::2])) == self.answers


def _asked(fs: ReadableFs, what: str, path: str) -> Any:
    try:
        return _told(path, getattr(fs, what)(path))
    except OSError as error:
        return error.errno or 0


def _told(path: str, answer: Any) -> Any:
    """The answer without what moves in it all the time: the counters of who is logged in."""
    return read.logged_in(answer) if path.endswith("/info") and "/acls/" in path and type(answer) is str else answer


def _hash(answers: Iterable[Any]) -> int:
    return hash(tuple(answers))


@lru_cache(_PATTERNS)
def _shared(calls: str) -> str:
    return calls
