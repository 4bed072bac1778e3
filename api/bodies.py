"""What clients send: manifests as YAML or JSON, read by the one loader, so that both obey the same rules."""

import json
import re
from collections.abc import Mapping
from typing import Any

from fastapi import Request

from api.errors import Malformed, Unsupported
from api.foreseen import annotated
from manifests.commits import COMMIT
from manifests.kinds import Object
from manifests.load import Invalid, Loaded, Problem, load
from manifests.types import shown

_JSON = "request.json"
_YAML = "request.yaml"

# What curl and people's scripts call a manifest when they do not say what it is counts as YAML, which JSON is too.
_TAKEN = re.compile(
    r"|(application|text)/([\w.-]+\+)?(json|(x-)?yaml)|text/plain|application/(x-www-form-urlencoded|octet-stream)", re.ASCII
).fullmatch


async def raw(request: Request) -> bytes:
    """The same however often it is asked for. TooLarge."""
    return await request.body()


async def manifests(request: Request) -> Loaded:
    """Any number of documents, also none. Invalid, TooLarge, Unsupported."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not _TAKEN(media_type):
        raise Unsupported(f"{shown(media_type)} is not taken: send manifests as application/yaml or application/json.")
    return load({_JSON if media_type.endswith("json") else _YAML: await raw(request)})


async def manifest(request: Request, kind: str, name: str | None) -> tuple[Object, int | None]:
    """The one document that this address takes, and the resourceVersion that it was read at. Invalid, TooLarge."""
    return only(await manifests(request), kind, name)


def patched(item: Object, patch: Any) -> tuple[Object, int | None]:
    """The object with the patch (RFC 7396) merged into it. Invalid, Malformed."""
    try:
        merged = json.dumps(merge(item.wire(), patch))
    except RecursionError:
        raise Malformed("The JSON is nested too deeply.") from None
    found, version = only(load({_JSON: merged.encode()}), item.kind, item.name)
    # A manifest holds no commit, but whoever changes a part of one has not called it off.
    return annotated(found, {COMMIT: item.metadata.annotations.get(COMMIT)}), version


def only(loaded: Loaded, kind: str, name: str | None) -> tuple[Object, int | None]:
    """Invalid unless it is exactly one object of this kind and, when given, this name."""
    if len(loaded.objects) != 1:
        raise refused("", "", f"send exactly one {kind}, not {len(loaded.objects)} manifests")
    item = loaded.objects[0]
    if item.kind != kind:
        raise refused(item.key, "kind", f"this address takes a {kind}, not a {item.kind}")
    if name is not None and item.name != name:
        message = "is not the name in the address: an object is not renamed, make another and delete this one"
        raise refused(item.key, "metadata.name", message)
    return item, loaded.expect.get(item.key)


def refused(key: str, field: str, message: str) -> Invalid:
    """What is wrong with a request, in the shape of a manifest's problem."""
    return Invalid([Problem("", 0, key, field, message)])


def parse_json(content: bytes) -> Any:
    """RFC 8259, and no key twice. Malformed."""
    try:
        return json.loads(content, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise Malformed("The JSON is nested too deeply.") from None
    except ValueError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396: null removes, objects merge, all else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
