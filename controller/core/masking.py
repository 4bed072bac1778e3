"""What is written down of a change: no more than what changed, without its secrets, in one line that shows what it is.

Pure, so that the laws (a secret never gets through, a patch leads from the one to the other) can be shown on their own.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

MASK = "***"
LIMIT = 4096
"""Characters of JSON that one side of a change may take; a longer one is cut, and says so."""

canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode
"""One spelling for one value: sorted, without spaces, ASCII."""

_WORDS = (
    *("password", "passwd", "passphrase", "secret", "token", "credential", "authorization", "cookie"),
    *("apikey", "privatekey", "signingkey", "chap"),
)
_SPACERS = str.maketrans("", "", "-_. ")
# RFC 3986: user and password of a URL, up to the last @ before the path begins.
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")


def masked(value: Any) -> Any:
    """The JSON value with ``***`` for whatever a secretive field holds, and for the userinfo of every URL in a text."""
    if isinstance(value, str):
        return _USERINFO.sub(f"{MASK}@", value) if "://" in value else value
    if isinstance(value, Mapping):
        return {
            masked(key): MASK if secretive(key) and held not in (None, "") else masked(held) for key, held in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(one) for one in value]
    return value


@lru_cache(4096)
def secretive(field: str) -> bool:
    """Whether a field of this name holds a secret, however it is spelt: chapPassword, API_KEY, x-auth-token."""
    plain = field.lower().translate(_SPACERS)
    return any(word in plain for word in _WORDS)


def _harmless(text: str) -> bool:
    """Whether nothing in this JSON can be a secret, which is so of nearly all, and quicker to see than to take apart."""
    plain = text.lower().translate(_SPACERS)
    return "://" not in text and "\\u" not in text and not any(word in plain for word in _WORDS)


def difference(before: Any, after: Any) -> tuple[Any, Any]:
    """The two sides of a change, each a merge patch (RFC 7396) that leads to its own side: only what differs.

    What stands on one side alone is null on the other. Lists are replaced whole.
    """
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return before, after
    left, right = dict[str, Any](), dict[str, Any]()
    for key in before.keys() | after.keys():
        was, now = before.get(key), after.get(key)
        if was != now:
            left[key], right[key] = difference(was, now)
    return left, right


def told(value: Any) -> str | None:
    """A side of a change as it is kept: masked, canonical, at most ``LIMIT`` characters and a few. None stays None."""
    if value is None:
        return None
    text = canonical(value)
    if not _harmless(text):
        text = canonical(masked(value))
    if len(text) <= LIMIT:
        return text
    whole = hashlib.sha256(text.encode()).hexdigest()
    return canonical({"cut": True, "characters": len(text), "sha256": whole, "start": text[: LIMIT // 2]})


def one_line(text: str, most: int = 128) -> str:
    """A name or an address from outside: what would break a line, steer a terminal or refuse to be stored is escaped."""
    if text.isascii() and text.isprintable() and len(text) <= most:
        return text
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:most])
    return shown if len(shown) <= most and len(text) <= most else f"{shown[:most]}..."
