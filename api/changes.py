"""Sets of manifests: apply them, plan them, say what differs now."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api import bodies, examples, overrides, permission, replies, sight, writes
from api.answers import like, refusals
from api.deps import Asking, Door, DoorOf, Principal
from api.foreseen import as_stored
from api.history import EVENT, event_wire, told
from api.once import Again, Attempt
from api.parameters import DryRun, Force
from api.verbs import Verb
from controller.core.steps import Change, Effect, Plan, Step, WithdrawTarget
from controller.core.wire import plan_wire
from controller.ports.requests import Kept
from controller.ports.store import Applied
from manifests.kinds import Object
from manifests.types import Iqn

router = APIRouter(tags=["changes"])
_MANIFESTS = {
    "requestBody": {
        "content": {
            "application/yaml": {
                "schema": {"type": "string", "description": "documents, separated by ---"},
                **examples.site("yaml"),
            },
            "application/json": {
                "schema": {"description": "one manifest, a list of them, or {items: [...]}"},
                **examples.site("json"),
            },
        }
    }
}
_STEP = Step(
    WithdrawTarget(Iqn.parse("iqn.2026-01.internal.ggnet:default:pc07.os")),
    frozenset({"Machine/pc07", "Session/pc07"}),
    "Session/pc07",
    Effect.DISRUPTIVE,
    (Change("tpg/enable", "1", None),),
    "pc07 is running on this disk: shut it down, or annotate Machine/pc07 with ggnet/disruption=allowed to cut its disk",
)
_PLAN = {
    **plan_wire(Plan((_STEP,), {"Session/pc08": "Image/win11 is not imported yet"})),
    "observedAt": "2026-01-05T12:00:00+00:00",
    "observedSecondsAgo": 3,
}
_OVERRIDDEN = {"object": "Machine/pc07", "source": "infra", "by": "api:ada", "deleted": False, "suspended": False}
_TOLD = ("Drifted", "Overridden", "OverrideEnded")


@router.post(
    "/apply",
    summary="Create or replace many objects, as one transaction",
    openapi_extra=_MANIFESTS,
    responses={200: {"model": writes.Outcome}, **refusals(400, 409, 412, 413)},
)
async def apply(
    request: Request, door: DoorOf, who: Asking, again: Again, dry_run: DryRun = False, force: Force = False
) -> Response:
    def compose(applied: Applied, objects: Mapping[str, Object]) -> Kept:
        return Kept(200, json.dumps(writes.applied_wire(applied, dry_run=dry_run)))

    async def act(attempt: Attempt) -> Response:
        loaded = await bodies.manifests(request)
        if not loaded.objects:
            raise bodies.refused("", "", "there are no manifests in the body")
        wish = writes.Wish(loaded.objects, dict(loaded.expect), force, dry_run)
        return await replies.put(door, who, wish, attempt, compose)

    return await again.once(act, dry_run=dry_run)


@router.post(
    "/plan",
    summary="What would be done, with these manifests over the stored ones",
    openapi_extra=_MANIFESTS,
    responses=like(_PLAN),
)
async def plan(request: Request, door: DoorOf, who: Asking) -> dict[str, Any]:
    loaded = await bodies.manifests(request)
    await door.mirror.fresh()
    standing = dict(door.mirror.objects)
    overlaid = {**standing, **{item.key: as_stored(item, standing.get(item.key)) for item in loaded.objects}}
    pairs = [(standing.get(item.key), overlaid[item.key]) for item in loaded.objects]
    permission.allow(door, who, Verb.READ, pairs, standing)
    with permission.discreet(door, who):
        writes.whole(writes.living(overlaid.values()).values())
    return await _decided(door, who, overlaid)


@router.get(
    "/drift",
    summary="What differs now between what is wanted and what is there, and what did lately",
    responses=like({**_PLAN, "overridden": [_OVERRIDDEN], "events": [EVENT]}),
)
async def drift(door: DoorOf, who: Asking) -> dict[str, Any]:
    await door.mirror.fresh()
    found = await _decided(door, who, dict(door.mirror.objects))
    events = [event for event in await told(door, who, None, 1000) if event.reason in _TOLD]
    visible = filter(permission.visible(door, who), door.mirror.objects.values())
    return {
        **found,
        "overridden": overrides.wire(visible),
        "events": [event_wire(event) for event in events],
    }


async def _decided(door: Door, who: Principal, objects: dict[str, Object]) -> dict[str, Any]:
    seen = await sight.look(door)
    found = permission.part(door, who, sight.decide(door, objects, seen), objects)
    return {**plan_wire(found), **sight.seen_wire(seen, door.clock.now())}
