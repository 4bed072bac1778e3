"""Where everything that is said goes: one line of JSON a fact on stderr, or lines for people on a terminal.

Our own events and those of the libraries (uvicorn, SQLAlchemy) pass the same door, where secrets are masked last, when
nothing more is added. A line is a line: what a stranger sent cannot begin another one.
"""

import json
import logging
import sys
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import Processor

from controller.adapters.logwriter import LogWriter
from controller.core.secrets import MASK, Mask, secret

Form = Literal["json", "console"]
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
_quote = json.encoder.encode_basestring_ascii
_MASKED = _quote(MASK)
_SHORT = 64
_NEW = frozenset({"request_id", "timestamp"})  # not worth to be remembered
_SAID_BY_HAND = ("exception", "stack")  # many lines, and our own


class Logs:
    """The door. ``extra`` sees each event before it is masked (to report what failed), and returns it."""

    def __init__(self, known: Collection[str] = (), *, extra: Sequence[Processor] = ()) -> None:
        self.mask = Mask(known)
        self._extra = extra
        self._short = lru_cache(4096)(lambda text: _quote(self.mask.new(text)))  # most of what is said is said again
        self._named = lru_cache(4096)(lambda key: (_quote(self.mask.new(key)) + ":", secret(key)))

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
        return [self._json] if form == "json" else [self._masked, _plain, structlog.dev.ConsoleRenderer()]

    def _masked(self, _: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return self.mask.fields(event)

    def _json(self, _: Any, __: str, event: MutableMapping[str, Any]) -> str:
        """Masked and encoded field by field: every request has a line, and it is a fifth of what the request costs."""
        told = []
        for key, value in event.items():
            name, hidden = self._named(str(key))
            if hidden and value is not None:
                told.append(name + _MASKED)
            elif type(value) is str:
                known = len(value) <= _SHORT and key not in _NEW
                told.append(name + (self._short(value) if known else _quote(self.mask.new(value))))
            else:
                told.append(name + self._value(value))
        return "{" + ",".join(told) + "}"

    def _value(self, value: Any) -> str:
        if type(value) is int or (type(value) is float and isfinite(value)):
            return repr(value)
        return "null" if value is None else _encode(self.mask.value(value))


def form(wanted: Form | None) -> Form:
    """JSON, but for somebody who looks at a terminal."""
    return wanted or ("console" if sys.stderr.isatty() else "json")


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
