"""Lists, in pages: ``limit`` and an opaque ``continue``, ordered by name, filtered by labels."""

import base64
import binascii
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from api import liveness, selectors
from api.deps import Door
from api.problems import Malformed
from manifests.meta import Manifest, Strict
from manifests.types import Name

LIMIT = 500


class Asked(BaseModel):
    """What part of a list is asked for."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    label_selector: Annotated[str, Field(alias="labelSelector", max_length=4096)] = ""
    limit: Annotated[int, Field(ge=1, le=10_000)] = LIMIT
    after: Annotated[str, Field(alias="continue", max_length=256)] = ""


class PageMetadata(Strict):
    """``continue`` is absent on the last page."""

    resource_version: int
    continue_: Annotated[str | None, Field(alias="continue")] = None


def page_of(model: type[Manifest]) -> type[BaseModel]:
    """The shape of a list of these, for the OpenAPI document."""
    return create_model(f"{model.__name__}List", items=(list[model], ...), metadata=(PageMetadata, ...))  # type: ignore[valid-type]


async def page(door: Door, kind: str, asked: Asked) -> dict[str, Any]:
    """Malformed."""
    matches = selectors.parse(asked.label_selector)
    after = _name(asked.after)
    stored, version = await door.store.list(kind)
    found = [item for item in stored if item.name > after and matches(item.metadata.labels)]
    items = found[: asked.limit]
    metadata: dict[str, Any] = {"resourceVersion": version}
    if len(found) > len(items):
        metadata["continue"] = base64.urlsafe_b64encode(items[-1].name.encode()).decode()
    shown = await liveness.shown(door.store, items, door.settings.server, door.clock.now())
    return {"items": [item.wire() for item in shown], "metadata": metadata}


def _name(token: str) -> str:
    try:
        return Name.parse(base64.urlsafe_b64decode(token.encode()).decode()) if token else ""
    except (binascii.Error, ValueError):
        raise Malformed("continue takes the metadata.continue of the page before, unchanged.") from None
