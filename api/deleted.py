"""What was deleted and can be restored."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from api import permission
from api.answers import refusals
from api.deps import Asking, DoorOf
from api.errors import Malformed
from controller.ports.tombstones import Place, Tombstone
from manifests.kinds import PLURALS
from manifests.meta import Strict

router = APIRouter(tags=["deleted"])
Kinds = Literal["networks", "machines", "images", "sessions"]
_MOMENT = "%Y%m%dT%H%M%S.%fZ"
_ONE = {
    "object": {
        "apiVersion": "ggnet/v1",
        "kind": "Machine",
        "metadata": {"name": "pc07", "uid": "0d5e0a2e-8f0b-4a2e-9b7e-2f6f0c1d2e3f", "managedBy": "api:ada"},
        "spec": {"macs": ["52:54:00:00:00:07"]},
    },
    "deletedBy": "api:ada",
    "removedAt": "2026-01-05T12:00:00Z",
    "restorableUntil": "2026-02-04T12:00:00Z",
}


class Deleted(Strict):
    """One that can be restored until ``restorableUntil``; ``object`` is as it was."""

    object: dict[str, Any]
    deleted_by: str
    removed_at: datetime
    restorable_until: datetime


class DeletedList(Strict):
    """``metadata.continue`` is absent on the last page."""

    items: tuple[Deleted, ...]
    metadata: dict[str, str]


_LISTED: dict[int | str, dict[str, Any]] = {
    200: {"model": DeletedList, "content": {"application/json": {"example": {"items": [_ONE], "metadata": {}}}}},
    **refusals(),
}


@router.get("/deleted", summary="What can be restored, the last deleted first", responses=_LISTED)
async def list_deleted(
    door: DoorOf,
    who: Asking,
    kinds: Annotated[Kinds | None, Query(alias="kind")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(alias="continue", max_length=64)] = "",
) -> dict[str, Any]:
    kind = PLURALS[kinds] if kinds is not None else None
    found = await door.store.tombstones(door.clock.now(), kind=kind, after=_place(after) if after else None, limit=limit + 1)
    may_see = permission.visible(door, who)
    items = [_wire(one) for one in found[:limit] if may_see(one.object)]
    more = {"continue": _token(found[limit - 1])} if len(found) > limit else {}
    return {"items": items, "metadata": more}


def _token(last: Tombstone) -> str:
    return f"{last.removed_at.astimezone(UTC):{_MOMENT}}~{last.object.metadata.uid}"


def _place(token: str) -> Place:
    """Malformed."""
    at, _, uid = token.partition("~")
    try:
        return datetime.strptime(at, _MOMENT).replace(tzinfo=UTC), uid
    except ValueError:
        raise Malformed("This is no continue of a page: take metadata.continue of the one before.", "continue") from None


def _wire(one: Tombstone) -> dict[str, Any]:
    told = Deleted(object=one.object.wire(), deleted_by=one.who, removed_at=one.removed_at, restorable_until=one.until)
    return told.wire()
