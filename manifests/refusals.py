"""pydantic's findings -> what a person can act on: where it is, what is wrong, what to write instead."""

import difflib
import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from manifests.documents import Path
from manifests.types import shown

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}", re.ASCII).fullmatch


def field_name(path: Path) -> str:
    """``('spec', 'macs', 0)`` -> ``spec.macs[0]``. Keys that are no plain word stand quoted and shortened."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _WORD(part):
            text += f".{part}" if text else part
        else:
            text += f"[{shown(part)}]"
    return text


def refusals(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[Path, str]]:
    """Each finding as the path within the manifest and a message."""
    for detail in error.errors(include_url=False):
        if detail["type"] == "too_short" and detail["input"]:
            continue  # it only seems empty, because its items were refused
        path = detail["loc"]
        if path[-1:] == ("[key]",):
            path = path[:-1]
        yield path, _message(detail, model)


_ONLY_A_NAME = "is {credential: NAME}, and NAME is a name (RFC 1123): what the secret is called, never the secret itself"


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    if "chap" in detail["loc"] and detail["type"] not in ("missing", "extra_forbidden"):
        return _ONLY_A_NAME  # what stands there may be a secret: it is not repeated
    given, context = _spelled(detail["input"]), detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return _unknown(detail["loc"], model)
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"is {context['expected'].replace(chr(39), '')}, not {given}"
        case "string_type":
            return f"{_spelled(detail['input'])} is not text: write it in quotes"
        case "bool_type":
            return f"is true or false, not {given}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"is a mapping, not {given}"
        case "tuple_type":
            return f"is a list, not {given}"
        case "too_short" | "string_too_short":
            return "is empty"
        case "too_long":
            return f"has at most {context['max_length']} items, not {context['actual_length']}"
        case "string_too_long":
            return f"has at most {context['max_length']} characters"
        case _:
            return f"{detail['msg']}: {given}"


def _spelled(value: Any) -> str:
    """As YAML spells it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return shown(value)


def _unknown(path: Path, model: type[BaseModel]) -> str:
    known = _fields(path[:-1], model)
    close = difflib.get_close_matches(str(path[-1])[:64], known, n=1)
    return f"is not a field here; did you mean {close[0]}?" if close else f"is not a field here: {', '.join(known)}"


def _fields(path: Path, model: type[BaseModel]) -> list[str]:
    """The names of the fields of the model that stands at this path."""
    for part in path:
        for name, info in model.model_fields.items():
            if part in (name, info.alias):
                model = next(t for t in _within(info.annotation) if isinstance(t, type) and issubclass(t, BaseModel))
    return [info.alias or name for name, info in model.model_fields.items()]


def _within(annotation: Any) -> Iterator[Any]:
    """The types that a type is made of, itself the first."""
    yield annotation
    for inner in get_args(annotation):
        yield from _within(inner)
