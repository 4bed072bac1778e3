"""Lists, in pages: filtered, searched, sorted; all pages of one list show one moment.

``continue`` holds the resourceVersion of the first page and the place in the order where the next one begins. It is good
for as long as this process remembers what has changed since; then it is 410, and the list is read again from the start.
"""

import base64
import binascii
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

import anyio.lowlevel
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.responses import Response

from api import fields, selectors
from api.deps import Door
from api.live.reads import STALE, answer
from api.problems import Malformed
from manifests.kinds import Object
from manifests.meta import Manifest, Strict

LIMIT = 500
_CHUNK = 500

Visible = Callable[[Object], bool]


class Asked(BaseModel):
    """What part of a list is asked for."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    label_selector: Annotated[
        str, Field(alias="labelSelector", max_length=4096, description="room=main,tier!=test,gpu,room in (a,b)")
    ] = ""
    field_selector: Annotated[
        str, Field(alias="fieldSelector", max_length=4096, description="status.phase=Ready,spec.machine!=pc07")
    ] = ""
    q: Annotated[str, Field(max_length=256, description="names, labels, MACs, addresses that hold this text")] = ""
    sort: Annotated[str, Field(max_length=256, description="a field, like name, phase, -createdAt, spec.machine")] = "name"
    limit: Annotated[int, Field(ge=1, le=10_000)] = LIMIT
    after: Annotated[str, Field(alias="continue", max_length=1024, description="metadata.continue of the page before")] = ""


class PageMetadata(Strict):
    """``continue`` is absent on the last page."""

    resource_version: int
    continue_: Annotated[str | None, Field(alias="continue")] = None


def page_of(model: type[Manifest]) -> type[BaseModel]:
    """The shape of a list of these, for the OpenAPI document."""
    return create_model(f"{model.__name__}List", items=(list[model], ...), metadata=(PageMetadata, ...))  # type: ignore[valid-type]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page begins: after this value of the sorted field and this name, in the list as of that version."""

    version: int
    value: str
    name: str


async def page(door: Door, kind: str, asked: Asked, visible: Visible) -> Response:
    """Malformed, Gone, StoreError."""
    matches = _filter(kind, asked)
    current = await door.mirror.fresh()
    place = _place(asked)
    version = place.version if place else door.mirror.known
    standing = door.mirror.at(version)
    order = fields.getter(kind, asked.sort.removeprefix("-"))
    found = [
        (order(item), str(item.name), item)
        async for item in _among(standing.values(), lambda item: item.kind == kind and visible(item) and matches(item))
    ]
    falling = asked.sort.startswith("-")
    found.sort(key=lambda row: row[:2], reverse=falling)
    if place is not None:
        last = (place.value, place.name)
        found = [row for row in found if (row[:2] < last if falling else row[:2] > last)]
    rows = found[: asked.limit]
    metadata: dict[str, object] = {"resourceVersion": version}
    if len(found) > len(rows):
        metadata["continue"] = _token(asked, _Place(version, *rows[-1][:2]))
    items = b",".join(await door.reads.many([item for _, _, item in rows]))
    body = b'{"items":[' + items + b'],"metadata":' + json.dumps(metadata).encode() + b"}"
    return answer(body, headers={} if current else STALE)


def _filter(kind: str, asked: Asked) -> Callable[[Object], bool]:
    labels, has = selectors.parse(asked.label_selector), fields.selector(kind, asked.field_selector)
    holds = fields.search(asked.q)
    return lambda item: labels(item.metadata.labels) and has(item) and (not asked.q or holds(item))


async def _among(items: Iterable[Object], wanted: Callable[[Object], bool]) -> AsyncIterator[Object]:
    """Those that are wanted of very many, without keeping everybody else waiting."""
    for number, item in enumerate(items):
        if number % _CHUNK == _CHUNK - 1:
            await anyio.lowlevel.checkpoint()
        if wanted(item):
            yield item


def _digest(asked: Asked) -> str:
    """Of the question: a token is good for the list that it was given with."""
    words = (asked.label_selector, asked.field_selector, asked.q, asked.sort)
    return sha256("\0".join(words).encode()).hexdigest()[:12]


def _token(asked: Asked, place: _Place) -> str:
    held = [place.version, place.value, place.name, _digest(asked)]
    return base64.urlsafe_b64encode(json.dumps(held, separators=(",", ":")).encode()).decode().rstrip("=")


def _place(asked: Asked) -> _Place | None:
    if not asked.after:
        return None
    try:
        padded = asked.after + "=" * (-len(asked.after) % 4)
        version, value, name, digest = json.loads(base64.b64decode(padded.encode("ascii"), b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise _foreign() from None
    if type(version) is not int or not isinstance(value, str) or not isinstance(name, str) or digest != _digest(asked):
        raise _foreign()
    return _Place(version, value, name)


def _foreign() -> Malformed:
    return Malformed("continue takes the metadata.continue of the page before, unchanged, with the same selectors and sort.")
