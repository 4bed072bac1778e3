"""Where the log goes that a test's own process makes: to the bare descriptor, past Python's own file for it.

A door runs in a thread beside its test. ``sys.stdout`` is another file in each phase of a test, as pytest has it: a line
that the thread prints into one that was just closed ends its request in a "Bad file descriptor", and has ended whole runs
in a segmentation fault. What goes to the descriptor, pytest shows all the same.
"""

import structlog
from structlog.typing import EventDict, WrappedLogger


def configure() -> None:
    structlog.reset_defaults()
    structlog.configure(
        processors=[*structlog.get_config()["processors"], _encoded],
        logger_factory=structlog.BytesLoggerFactory(open(2, "wb", buffering=0, closefd=False)),  # noqa: SIM115 stays open
    )


def _encoded(logger: WrappedLogger, name: str, event: EventDict) -> bytes:
    return str(event).encode(errors="backslashreplace")
