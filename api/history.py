"""What happened: events, and the revisions of the sources with their verdicts."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from api import permission
from api.answers import like
from api.deps import Asking, Door, DoorOf, Principal
from api.parameters import DryRun
from controller.ports.store import Event, NotFound, Revision
from manifests.types import shown

router = APIRouter(tags=["history"])
Limit = Annotated[int, Query(ge=1, le=1000)]


def event_wire(event: Event) -> dict[str, Any]:
    return {
        "object": event.key,
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "first": event.first.isoformat(),
        "last": event.last.isoformat(),
        "count": event.count,
    }


def revision_wire(revision: Revision) -> dict[str, Any]:
    wire = {
        "source": revision.source,
        "sha": revision.sha,
        "author": revision.author,
        "message": revision.message,
        "verdict": revision.verdict,
        "problems": [dict(problem) for problem in revision.problems],
        "receivedAt": revision.received_at.isoformat(),
        "approved": revision.approved,
    }
    if revision.converged_at is not None:
        wire["convergedAt"] = revision.converged_at.isoformat()
        wire["seconds"] = round((revision.converged_at - revision.received_at).total_seconds(), 3)
    return wire


_WHEN = datetime(2026, 1, 5, 12, tzinfo=UTC)
_SHA = "4f2a91c07d3e5b6a8c9d0e1f2a3b4c5d6e7f8091"
_FOUND = "publish target iqn.2026-01.internal.ggnet:default:pc07.os: tpg/enable: expected 1, found nothing; put right"
EVENT = event_wire(Event("Machine/pc07", "Warning", "Drifted", _FOUND, _WHEN, _WHEN))
_REVISION = revision_wire(
    Revision("infra", _SHA, "Ada", "add pc07", "accepted", (), _WHEN, converged_at=_WHEN + timedelta(seconds=2))
)


@router.get("/events", summary="What happened, newest first", responses=like({"items": [EVENT]}))
async def events(
    door: DoorOf,
    who: Asking,
    about: Annotated[str | None, Query(alias="object", max_length=128, description="like Machine/pc07")] = None,
    limit: Limit = 200,
) -> dict[str, Any]:
    return {"items": [event_wire(event) for event in await told(door, who, about, limit)]}


async def told(door: Door, who: Principal, about: str | None, limit: int) -> list[Event]:
    """What the asker may hear of; for whoever sees a part, that part of the newest thousand."""
    found = await door.store.events(about, limit if permission.sees_all(door, who) else 1000)
    await door.mirror.fresh()
    told_of = permission.tellable(door, who)
    return [event for event in found if told_of(event.key)][:limit]


@router.get(
    "/revisions",
    summary="What was read from the sources, newest first, and what became of it",
    responses=like({"items": [_REVISION]}),
)
async def revisions(
    door: DoorOf, source: Annotated[str | None, Query(max_length=512)] = None, limit: Limit = 50
) -> dict[str, Any]:
    return {"items": [revision_wire(revision) for revision in await door.store.revisions(source, limit)]}


@router.post(
    "/revisions/{sha}/approve",
    summary="Let a revision through that the prune guard held",
    responses=like({"source": "infra", "sha": _SHA, "approved": True}),
)
async def approve(sha: str, door: DoorOf, who: Asking, dry_run: DryRun = False) -> dict[str, Any]:
    """``sha`` may be shortened, as long as it names one guarded revision."""
    held = [one for one in await door.store.revisions(None, 1000) if one.verdict == "guarded" and one.sha.startswith(sha)]
    shas = {(one.source, one.sha) for one in held}
    if len(shas) != 1 or len(sha) < 4:
        raise NotFound(f"{shown(sha)} names {len(shas)} guarded revisions, not one: see GET /api/v1/revisions.")
    source, full = shas.pop()
    if not dry_run:
        await door.store.approve(source, full, by=who.actor)
    return {"source": source, "sha": full, "approved": True}
