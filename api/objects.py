"""Objects by kind and name. The manifest itself is the body; its ETag is its resourceVersion.

The routes are made once for each kind, so that the OpenAPI document says what a Machine is and what a Session is.
"""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api import examples, foreseen, pages, permission, removing, writing
from api.answers import gives, like, refusals
from api.deps import Asking, Door, DoorOf, Principal
from api.parameters import DryRun
from api.replies import answer, find
from api.verbs import Verb
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
    content = {"application/json": examples.page(kind)}
    listed = refusals(410) | {200: {"model": pages.page_of(KINDS[kind]), "content": content}}
    clear = like({"object": f"{kind}/main", "why": f"Nothing is in the way of {kind}/main: it is Ready."})

    @routes.get("", summary=f"List {plural}", responses=listed)
    async def list_all(door: DoorOf, who: Asking, asked: Annotated[pages.Asked, Query()]) -> Response:
        return await pages.page(door, kind, asked, permission.visible(door, who))

    @routes.get("/{name}", summary=f"Read one {kind}", responses=gives(kind))
    async def read(name: str, door: DoorOf, who: Asking) -> Response:
        return await answer(door, await find(door, who, kind, name))

    @routes.get("/{name}/why", summary=f"The first thing in the way of one {kind}", responses=clear)
    async def explain(name: str, door: DoorOf, who: Asking) -> dict[str, str]:
        item = await find(door, who, kind, name)
        seen = await door.liveness.shown(list(door.mirror.objects.values()))
        told, may_see = why(item.key, {one.key: one for one in seen}), permission.visible(door, who)
        if told != why(item.key, {one.key: one for one in seen if may_see(one)}):
            told = f"Something that {item.key} rests on is in its way, and you may not see it: ask an administrator."
        return {"object": item.key, "why": told}


def _pause(routes: APIRouter, kind: str) -> None:
    left = gives(kind) | refusals(404)

    @routes.post("/{name}/suspend", summary=f"Leave one {kind} alone", responses=left)
    async def suspend(name: str, door: DoorOf, who: Asking, dry_run: DryRun = False) -> Response:
        return await _annotate(door, who, await find(door, who, kind, name), "true", dry_run=dry_run)

    @routes.post("/{name}/resume", summary=f"Look after one {kind} again", responses=left)
    async def resume(name: str, door: DoorOf, who: Asking, dry_run: DryRun = False) -> Response:
        return await _annotate(door, who, await find(door, who, kind, name), None, dry_run=dry_run)


async def _annotate(door: Door, who: Principal, item: Object, paused: str | None, *, dry_run: bool) -> Response:
    permission.check(door, who, Verb.SUSPEND, item)
    if dry_run:
        return await answer(door, foreseen.annotated(item, {PAUSED: paused}))
    await door.store.annotate(item.key, {PAUSED: paused}, by=who.actor)
    return await answer(door, await find(door, who, item.kind, item.name))
