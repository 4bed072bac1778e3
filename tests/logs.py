"""Where the log goes that a test's own process makes: past Python's files, which threads must not share.

A door runs in a thread beside its test. To write to ``sys.stdout`` from there while pytest swaps and reads it has ended in
a segmentation fault (CPython gh-119506); a bare descriptor takes a line with one call, and pytest shows it all the same.
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
