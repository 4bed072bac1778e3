"""Sets of manifests: apply them, plan them, say what differs now."""

from typing import Any

from fastapi import APIRouter, Request

from api import bodies, sight, writes
from api.deps import Asking, Door, DoorOf
from api.history import event_wire
from api.objects import DryRun, Force
from controller.core.wire import plan_wire
from manifests.kinds import Object

router = APIRouter(tags=["changes"])
_MANIFESTS = {
    "requestBody": {
        "content": {
            "application/yaml": {"schema": {"type": "string", "description": "documents, separated by ---"}},
            "application/json": {"schema": {"description": "one manifest, a list of them, or {items: [...]}"}},
        }
    }
}
DRIFTED = "Drifted"


@router.post("/apply", summary="Create or replace many objects, as one transaction", openapi_extra=_MANIFESTS)
async def apply(
    request: Request, door: DoorOf, who: Asking, dry_run: DryRun = False, force: Force = False
) -> dict[str, Any]:
    loaded = await bodies.manifests(request)
    if not loaded.objects:
        raise bodies.refused("", "", "there are no manifests in the body")
    wish = writes.Wish(loaded.objects, dict(loaded.expect), force, dry_run)
    return writes.applied_wire(await writes.put(door, who, wish), dry_run=dry_run)


@router.post("/plan", summary="What would be done, with these manifests over the stored ones", openapi_extra=_MANIFESTS)
async def plan(request: Request, door: DoorOf) -> dict[str, Any]:
    loaded = await bodies.manifests(request)
    await door.mirror.fresh()
    standing = dict(door.mirror.objects)
    overlaid = {**standing, **{item.key: _as_stored(item, standing.get(item.key)) for item in loaded.objects}}
    writes.whole(writes.living(overlaid.values()).values())
    return await _decided(door, overlaid)


@router.get("/drift", summary="What differs now between what is wanted and what is there, and what did lately")
async def drift(door: DoorOf) -> dict[str, Any]:
    await door.mirror.fresh()
    found = await _decided(door, dict(door.mirror.objects))
    events = [event for event in await door.store.events(None, 1000) if event.reason == DRIFTED]
    return {**found, "events": [event_wire(event) for event in events]}


async def _decided(door: Door, objects: dict[str, Object]) -> dict[str, Any]:
    seen = await sight.look(door)
    return {**plan_wire(sight.decide(door, objects, seen)), **sight.seen_wire(seen, door.clock.now())}


def _as_stored(item: Object, before: Object | None) -> Object:
    """The manifest as the store would hold it: what the server adds is kept, a changed spec is a new generation."""
    if before is None:
        return item.model_copy(update={"metadata": item.metadata.model_copy(update={"uid": "new", "generation": 1})})
    generation = (before.metadata.generation or 0) + (before.spec != item.spec)
    server = {"uid": before.metadata.uid, "generation": generation, "created_at": before.metadata.created_at}
    return item.model_copy(update={"metadata": item.metadata.model_copy(update=server), "status": before.status})
