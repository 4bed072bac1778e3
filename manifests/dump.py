"""Objects -> YAML as a person would write it: stable order, nothing empty, quotes only where a reader could go wrong.

A reader is any YAML reader, 1.1 or 1.2: a MAC address of decimal digits is quoted here though our own loader does not
need it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from manifests.kinds import Object
from manifests.meta import SERVER_FIELDS, Manifest

Kind = TypeVar("Kind", bound=Manifest)

_PLAIN = re.compile(
    r"[A-Za-z][A-Za-z0-9_./@-]*"  # a word
    r"|iqn\.[a-z0-9.:-]*[a-z0-9]"
    r"|[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?"  # an address: never a number, it has three dots
    r"|[1-9][0-9]*(B|KiB|MiB|GiB|TiB|s|m|h|d)",
    re.ASCII,
).fullmatch
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def dump(objects: Iterable[Object]) -> str:
    """One YAML document an object, in the order given; ``load(dump(x))`` is ``x``, normalised."""
    return "".join("---\n" + "".join(_mapping(one.wire(), "")) for one in objects)


def normalise(one: Kind) -> Kind:
    """The object as its author declared it, without what the server adds; twice is once."""
    mine = one.metadata.model_copy(update=dict.fromkeys(_SERVER_ATTRIBUTES))
    return one.model_copy(update={"metadata": mine, "status": None})


_SERVER_ATTRIBUTES = [re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", name) for name in SERVER_FIELDS]


def _mapping(fields: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in fields.items():
        match value:
            case {} | [] if not value:
                continue
            case dict():
                yield f"{indent}{_scalar(key)}:\n"
                yield from _mapping(value, indent + "  ")
            case [dict(), *_]:
                yield f"{indent}{_scalar(key)}:\n"
                for item in value:
                    first, *rest = _mapping(item, indent + "    ")
                    yield f"{indent}  - {first.lstrip(' ')}"
                    yield from rest
            case list():
                yield f"{indent}{_scalar(key)}: [{', '.join(map(_scalar, value))}]\n"
            case _:
                yield f"{indent}{_scalar(key)}: {_scalar(value)}\n"


def _scalar(value: str | int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if _PLAIN(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
