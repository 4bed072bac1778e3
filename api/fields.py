"""Fields of an object by their path on the wire: ``status.phase``, ``spec.macs.0``, ``metadata.labels.room``.

Selectors (``status.phase=Ready,spec.machine!=pc07``), orders (``-metadata.createdAt``) and search are made of them.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from pydantic import BaseModel

from api.errors import Malformed
from manifests.kinds import KINDS, Object
from manifests.machine import Machine
from manifests.session import Session
from manifests.types import shown

_SHORT = {"name": "metadata.name", "phase": "status.phase", "createdAt": "metadata.createdAt"}
NAMES = frozenset({"name", "metadata.name"})
_TERM = re.compile(r"([A-Za-z0-9._/-]{1,200})(==|=|!=)([^,=!]{0,256})", re.ASCII).fullmatch
MOST = 20
"""Terms of a selector: to look a field up costs a microsecond for each object."""
_UPPER = re.compile("[A-Z]")

Get = Callable[[Object], str]


def getter(kind: str, path: str) -> Get:
    """The field's value as text, "" where it is absent. Malformed when objects of this kind have no such field."""
    parts = _SHORT.get(path, path).split(".", 2 if ".labels." in path or ".annotations." in path else -1)
    names = [_UPPER.sub(lambda found: "_" + found[0].lower(), part) for part in parts]
    _demand(KINDS[kind], names, path)
    return lambda item: _text(_walk(item, parts, names))


def selector(kind: str, text: str) -> Callable[[Object], bool]:
    """All terms must hold. Malformed."""
    terms: list[tuple[Get, bool, str]] = []
    for term in text.split(",") if text else ():
        found = _TERM(term.strip())
        if found is None:
            raise Malformed(
                f"fieldSelector {shown(text)} is not a selector: write it like status.phase=Ready,spec.machine!=pc07"
            )
        if len(terms) == MOST:
            raise Malformed(f"fieldSelector has more than {MOST} terms: ask for less at once.", "fieldSelector")
        terms.append((getter(kind, found[1]), found[2] != "!=", found[3]))
    return lambda item: all((get(item) == value) is equal for get, equal, value in terms)


def search(text: str) -> Callable[[Object], bool]:
    """Whether a name, a label, or what a person would know the object by holds this text, in any case."""
    wanted = text.casefold()
    return lambda item: any(wanted in word.casefold() for word in _words(item))


def _words(item: Object) -> Iterator[str]:
    yield item.name
    for key, value in item.metadata.labels.items():
        yield f"{key}={value}"
    if isinstance(item, Machine):
        yield from item.spec.macs
        yield from (word for word in (item.spec.hostname, item.spec.address) if word)
    elif isinstance(item, Session):
        yield from (item.spec.machine, *(str(ref) for _, ref in item.spec.images))


def _demand(kind: type[BaseModel], names: Sequence[str], path: str) -> None:
    model: Any = kind
    for name in names:
        if name not in model.model_fields:
            raise Malformed(
                f"there is no field {shown(path)}: write one as in the object, like status.phase or spec.machine"
            )
        inner = model.model_fields[name].annotation
        choices = [one for one in (inner, *get_args(inner)) if isinstance(one, type) and issubclass(one, BaseModel)]
        if not choices:
            return
        model = choices[0]


def _walk(value: Any, parts: Sequence[str], names: Sequence[str]) -> Any:
    for part, name in zip(parts, names, strict=True):
        if isinstance(value, BaseModel):
            value = getattr(value, name, None)
        elif isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, tuple | list) and part.isascii() and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat()
        case int():
            return f"{value:020}" if value >= 0 else str(value)
        case _:
            return str(value)
