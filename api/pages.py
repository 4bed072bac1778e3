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
from api.errors import Malformed
from api.live.reads import STALE, answer
from api.live.shelf import Shelf
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
    wanted = _filter(kind, asked, visible)
    order = fields.getter(kind, asked.sort.removeprefix("-"))
    current = await door.mirror.fresh()
    place = _place(asked)
    version = place.version if place else door.mirror.known
    shelf = door.mirror.at(kind, version)
    named = asked.sort.removeprefix("-") in fields.NAMES
    found = await (_named(shelf, asked, place, wanted) if named else _sorted(shelf, asked, place, wanted, order))
    rows = found[: asked.limit]
    metadata: dict[str, object] = {"resourceVersion": version}
    if len(found) > len(rows):
        metadata["continue"] = _token(asked, _Place(version, order(rows[-1]), str(rows[-1].name)))
    items = b",".join(await door.reads.many(rows))
    body = b'{"items":[' + items + b'],"metadata":' + json.dumps(metadata).encode() + b"}"
    return answer(body, headers={} if current else STALE)


async def _named(shelf: Shelf, asked: Asked, place: _Place | None, wanted: Visible) -> list[Object]:
    """The page and one more, by name: what lies before and behind it is not looked at."""
    found: list[Object] = []
    async for item in _among(shelf.beyond(place.name if place else None, falling=_falling(asked)), wanted):
        found.append(item)
        if len(found) > asked.limit:
            break
    return found


async def _sorted(shelf: Shelf, asked: Asked, place: _Place | None, wanted: Visible, order: fields.Get) -> list[Object]:
    """The page and all behind it, by another field, then by name."""
    rows = [(order(item), str(item.name), item) async for item in _among(shelf, wanted)]
    rows.sort(key=lambda row: row[:2], reverse=_falling(asked))
    if place is not None:
        last = (place.value, place.name)
        rows = [row for row in rows if (row[:2] < last if _falling(asked) else row[:2] > last)]
    return [item for _, _, item in rows]


def _falling(asked: Asked) -> bool:
    return asked.sort.startswith("-")


def _filter(kind: str, asked: Asked, visible: Visible) -> Visible:
    """What is not asked for is not asked of each."""
    wanted = [visible]
    if asked.label_selector:
        labels = selectors.parse(asked.label_selector)
        wanted.append(lambda item: labels(item.metadata.labels))
    if asked.field_selector:
        wanted.append(fields.selector(kind, asked.field_selector))
    if asked.q:
        wanted.append(fields.search(asked.q))
    return visible if len(wanted) == 1 else lambda item: all(matches(item) for matches in wanted)


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
