"""What goes wrong at one of the moments of a run: before, in the middle of, or after one effect."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from controller.ports.host import EffectFailed
from controller.ports.store import StoreError

LOOKS = frozenset(
    {"read", "readlink", "list", "stat", "get", "fetch", "versions", "orphans", "next_due", "events", "pulse", "revisions"}
)
KERNEL = frozenset({"mkdir", "rmdir", "symlink", "unlink", "write"})
_ERRORS = (errno.EIO, errno.ENOSPC, errno.EBUSY, errno.ETIMEDOUT)
Fault = Callable[[str, str, object], None]


class Crash(BaseException):
    """The process dies here; nothing below may catch it."""


def die(when: str, call: str, subject: object) -> None:
    """Only the world stays."""
    raise Crash


@dataclass(frozen=True)
class Error:
    """This one call is answered with an error. ``after`` its effect has happened all the same, as with a timeout."""

    number: int

    def __call__(self, when: str, call: str, subject: object) -> None:
        text = f"{os.strerror(self.number)} ({when} {call})"
        if call in KERNEL:
            raise OSError(self.number, os.strerror(self.number), str(subject))
        if "." in call:
            raise EffectFailed("Injected", text)
        raise StoreError(text)


def error_at(moment: int) -> Error:
    """Each moment gets one of the errors in turn: with hundreds of moments each call meets each."""
    return Error(_ERRORS[moment % len(_ERRORS)])


@dataclass
class Meter:
    """Counts the moments of a run, and lets the fault happen at one of them.

    What goes wrong before or after a look goes wrong before the next effect, so only effects are counted.
    """

    at: int | None = None
    fault: Fault = die
    calls: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.calls)

    def __call__(self, when: str, call: str, subject: object) -> None:
        if call in LOOKS:
            return
        self.calls.append(call)
        if self.count == self.at:
            self.fault(when, call, subject)
