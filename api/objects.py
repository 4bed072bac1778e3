"""Objects by kind and name. The manifest itself is the body; its ETag is its resourceVersion.

The routes are made once for each kind, so that the OpenAPI document says what a Machine is and what a Session is.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api import foreseen, pages, removing, writing
from api.deps import Door, DoorOf
from api.parameters import DryRun
from api.replies import answer, find
from controller.core.why import why
from manifests.kinds import KINDS, PLURALS, Object
from manifests.meta import PAUSED


def router(plural: str) -> APIRouter:
    """The routes of one kind."""
    kind = PLURALS[plural]
    routes = APIRouter(prefix=f"/{plural}", tags=[plural])
    _read(routes, plural, kind)
    writing.add(routes, kind)
    removing.add(routes, plural, kind)
    _pause(routes, kind)
    return routes


def _read(routes: APIRouter, plural: str, kind: str) -> None:
    model: Any = KINDS[kind]

    @routes.get("", summary=f"List {plural}", responses={200: {"model": pages.page_of(model)}})
    async def list_all(door: DoorOf, asked: Annotated[pages.Asked, Query()]) -> Response:
        return await pages.page(door, kind, asked, lambda item: True)

    @routes.get("/{name}", summary=f"Read one {kind}", responses={200: {"model": model}})
    async def read(name: str, door: DoorOf) -> Response:
        return await answer(door, await find(door, kind, name))

    @routes.get("/{name}/why", summary=f"The first thing in the way of one {kind}")
    async def explain(name: str, door: DoorOf) -> dict[str, str]:
        item = await find(door, kind, name)
        seen = await door.liveness.shown(list(door.mirror.objects.values()))
        return {"object": item.key, "why": why(item.key, {one.key: one for one in seen})}


def _pause(routes: APIRouter, kind: str) -> None:
    model: Any = KINDS[kind]

    @routes.post("/{name}/suspend", summary=f"Leave one {kind} alone", responses={200: {"model": model}})
    async def suspend(name: str, door: DoorOf, dry_run: DryRun = False) -> Response:
        return await _annotate(door, await find(door, kind, name), "true", dry_run=dry_run)

    @routes.post("/{name}/resume", summary=f"Look after one {kind} again", responses={200: {"model": model}})
    async def resume(name: str, door: DoorOf, dry_run: DryRun = False) -> Response:
        return await _annotate(door, await find(door, kind, name), None, dry_run=dry_run)


async def _annotate(door: Door, item: Object, paused: str | None, *, dry_run: bool) -> Response:
    if dry_run:
        return await answer(door, foreseen.annotated(item, {PAUSED: paused}))
    await door.store.annotate(item.key, {PAUSED: paused})
    return await answer(door, await find(door, item.kind, item.name))
