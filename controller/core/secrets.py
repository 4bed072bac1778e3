"""What must not stand in a log or an answer: found by the name of its field, and by its look where it has none.

By look: bearer tokens, JWTs, our own API keys, passwords in URLs, ``password=...`` and its kin. Rather too much is masked
than too little. Who knows a secret says so (``Mask``), and it is masked wherever it stands.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

MASK = "***"
_WORDS = r"pass(?:word|wd|phrase)|secret|token|api[_-]?key|credential|signature"
_KEY = re.compile(rf"{_WORDS}|authorization|cookie|\bdsn\b|private", re.IGNORECASE)
_LOOKS = re.compile(
    r"(?P<scheme>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"
    r"|\b(?:ggk|ggr|whsec)_[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<user>://[^\s/:@]*:)[^\s]*@"
    r"|(?P<host>://)[^\s/@:]{16,}@"
    rf"|(?P<field>[\w.-]*(?:{_WORDS})[\w.-]*[\"']?\s*(?:=|[\"']\s*:)\s*[\"']?)[^\s&;,\"'}}]+",
    re.IGNORECASE,
)
_SIGNS = re.compile(r"[=@\"'\s]|eyJ|gg[kr]_|whsec_", re.IGNORECASE)  # without one of them nothing above is found
_SHORT = 64
_DEEP = 16  # a report of a failure is that deep


@lru_cache(4096)
def secret(key: str) -> bool:
    """Whether a field of this name holds what nobody may read."""
    return _KEY.search(key) is not None


def masked(text: str) -> str:
    """The text without what looks like a secret."""
    return text if text.isalnum() or _SIGNS.search(text) is None else _LOOKS.sub(_instead, text)


def _instead(found: re.Match[str]) -> str:
    kept = found["scheme"] or found["user"] or found["host"] or found["field"] or ""
    return kept + MASK + ("@" if found["user"] or found["host"] else "")


class Mask:
    """``known`` are secrets of this process: they are masked in whatever text they stand."""

    def __init__(self, known: Collection[str] = ()) -> None:
        long = sorted({one for one in known if len(one) >= 6}, key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(one) for one in long)) if long else None
        self._least = len(long[-1]) if long else 0
        self._short = lru_cache(4096)(self.new)  # most of what is said is said again: methods, routes, names, levels
        self._named = lru_cache(4096)(lambda key: (self.text(key), secret(key)))

    def text(self, text: str) -> str:
        return self._short(text) if len(text) <= _SHORT else self.new(text)

    def new(self, text: str) -> str:
        """Of a text that is not likely to come again."""
        if self._known is not None and len(text) >= self._least:
            text = self._known.sub(MASK, text)
        return masked(text)

    def value(self, value: Any, depth: int = 0) -> Any:
        """Any JSON; what is none is taken as its text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping) and depth < _DEEP:
            return self.fields(value, depth + 1)
        if isinstance(value, list | tuple | set | frozenset) and depth < _DEEP:
            return [self.value(one, depth + 1) for one in value]
        return self.text(str(value))

    def fields(self, fields: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
        """Names are kept, and may hold a secret as any text may. This is on the way of every request's line in the log."""
        told: dict[str, Any] = {}
        for key, value in fields.items():
            name, hidden = self._named(str(key))
            if hidden and value is not None:
                told[name] = MASK
            else:
                told[name] = self.text(value) if type(value) is str else self.value(value, depth)
        return told
