"""Where the log goes that a test's own process makes: into memory, to be shown with a test that fails.

A door runs in a thread beside its test. ``sys.stdout`` is another file in each phase of a test, as pytest has it: a line
that the thread prints into one that was just closed ends its request in a "Bad file descriptor", and has ended whole runs
in a segmentation fault.
"""

from collections import deque

import structlog
from structlog.typing import EventDict, WrappedLogger

_lines: deque[str] = deque(maxlen=10_000)


def configure() -> None:
    structlog.reset_defaults()
    structlog.configure(
        processors=[*structlog.get_config()["processors"], _kept], logger_factory=structlog.ReturnLoggerFactory()
    )


def told() -> str:
    """All that was logged since the test began."""
    return "\n".join(_lines.copy())


def forget() -> None:
    _lines.clear()


def _kept(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    _lines.append(str(event))  # rendered, by now
    return event
