"""What a command asks of the machine that it runs on."""

from collections.abc import Sequence
from pathlib import Path

from controller.adapters import files
from controller.adapters.clock import SystemClock
from controller.adapters.finding import Finding
from controller.ports.clock import Clock
from controller.settings import Settings


def clock() -> Clock:
    return SystemClock()


def keep(path: Path, data: bytes) -> None:
    """A file of the command's, for its owner alone, replaced whole. OSError."""
    files.replace(path, data, 0o600)


def doctor(settings: Settings) -> Sequence[Finding]:
    from controller.adapters import doctor as examination

    return examination.examine(settings)
