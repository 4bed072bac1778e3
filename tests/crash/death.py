"""The death of a process at its n-th call that changes a file, told by the interpreter's own audit events (PEP 578)."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.faults import Crash

_CHANGES = frozenset({"os.rename", "os.remove", "os.utime", "os.mkdir", "os.chmod", "os.setxattr", "os.truncate", "os.link"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Death:
    """Below ``root`` it happens at the call with the number ``at``; one that is dead makes no more calls there."""

    root: Path
    at: int
    calls: list[str] = field(default_factory=list)

    @property
    def dead(self) -> bool:
        return len(self.calls) >= self.at

    def sees(self, event: str, words: tuple[object, ...]) -> bool:
        changes = event in _CHANGES or (event == "open" and isinstance(words[2], int) and bool(words[2] & _WRITING))
        where = words[0]
        return changes and (isinstance(where, int) or str(where).startswith(str(self.root)))

    def __call__(self, event: str, words: tuple[object, ...]) -> None:
        if self.sees(event, words):
            self.strike(event)

    def strike(self, call: str) -> None:
        """Also for calls that change no file."""
        if not self.dead:
            self.calls.append(call)
        if self.dead:
            raise Crash


_here: list[Death] = []
_hooked: list[bool] = []


def _hook(event: str, words: tuple[object, ...]) -> None:
    if _here:
        _here[0](event, words)


@contextmanager
def dying(root: Path, at: int) -> Iterator[Death]:
    """A hook can never be taken away again: there is one, which has nothing to say but in here."""
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(_hook)
    _here.append(Death(root, at))
    try:
        yield _here[0]
    finally:
        _here.clear()
