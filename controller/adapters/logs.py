"""Where everything that is said goes: one line of JSON a fact on stderr, or lines for people on a terminal.

Our own events and those of the libraries (uvicorn, SQLAlchemy) pass the same door, where secrets are masked last, when
nothing more is added. A line is a line: what a stranger sent cannot begin another one.
"""

import json
import logging
import sys
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import Processor

from controller.adapters.logwriter import LogWriter
from controller.core.secrets import Mask

Form = Literal["json", "console"]
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
_SAID_BY_HAND = ("exception", "stack")  # many lines, and our own


class Logs:
    """The door. ``extra`` sees each event before it is masked (to report what failed), and returns it."""

    def __init__(self, known: Collection[str] = (), *, extra: Sequence[Processor] = ()) -> None:
        self.mask = Mask(known)
        self._extra = extra

    def open(self, form: Form, level: str, out: TextIO | LogWriter) -> None:
        number = logging.getLevelNamesMapping()[level.upper()]
        ending = self._ending(form)
        structlog.reset_defaults()
        structlog.configure(
            processors=[*self._common(), *ending],
            wrapper_class=structlog.make_filtering_bound_logger(number),
            logger_factory=structlog.WriteLoggerFactory(cast(TextIO, out)),
            cache_logger_on_first_use=True,
        )
        handler = logging.StreamHandler(cast(TextIO, out))
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[_of_library, *self._common()],
                processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
            )
        )
        root = logging.getLogger()
        root.handlers[:] = [handler]
        root.setLevel(max(number, logging.WARNING))  # what libraries tell of themselves is for those who write them
        logging.captureWarnings(capture=True)

    def _common(self) -> list[Processor]:
        return [
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *self._extra,
            structlog.processors.format_exc_info,
        ]

    def _ending(self, form: Form) -> list[Processor]:
        return [self._masked, _json] if form == "json" else [self._masked, _plain, structlog.dev.ConsoleRenderer()]

    def _masked(self, _: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return self.mask.fields(event)


def form(wanted: Form | None) -> Form:
    """JSON, but for somebody who looks at a terminal."""
    return wanted or ("console" if sys.stderr.isatty() else "json")


def _json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return _encode(event)


def _plain(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Without what a terminal would obey."""
    return {_printable(key): _lines(value) if key in _SAID_BY_HAND else _printable(value) for key, value in event.items()}


def _lines(value: Any) -> Any:
    return "\n".join(_printable(line) for line in value.split("\n")) if isinstance(value, str) else value


def _printable(value: Any) -> Any:
    return value if not isinstance(value, str) or value.isprintable() else ascii(value)[1:-1]


def _of_library(logger: Any, _: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    record = event.get("_record")
    event["part"] = record.name if record is not None else getattr(logger, "name", "")
    return event
