"""Objects by kind and name. The manifest itself is the body; its ETag is its resourceVersion.

The routes are made once for each kind, so that the OpenAPI document says what a Machine is and what a Session is.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from api import bodies, pages, writes
from api.deps import Asking, Door, DoorOf, Principal
from api.live import reads
from api.live.reads import STALE
from api.problems import Exists, Malformed
from controller.core.why import why
from controller.ports.store import Conflict, NotFound
from manifests.kinds import KINDS, PLURALS, Object
from manifests.meta import PAUSED
from manifests.types import shown

Force = Annotated[bool, Query(description="also when a git source manages the object, or its PC is running")]
DryRun = Annotated[bool, Query(alias="dryRun", description="check everything, write nothing")]
IfMatch = Annotated[str | None, Header(description="the ETag that was read: if the object has changed since, 412")]


async def find(door: Door, kind: str, name: str) -> Object:
    """NotFound, whatever the name holds."""
    await door.mirror.fresh()
    item = door.mirror.objects.get(f"{kind}/{name}")
    if item is None:
        raise NotFound(f"There is no {kind}/{shown(name)[1:-1]}.")
    return item


async def answer(door: Door, item: Object, status: int = 200) -> Response:
    headers = {"ETag": f'"{item.metadata.resource_version}"', **(STALE if door.mirror.lost else {})}
    return reads.answer(await door.reads.one(item), status, headers)


def expected(item: Object | None, if_match: str | None, body_version: int | None = None) -> dict[str, int]:
    """What must still stand: the ETag if one was sent, else the resourceVersion in the body. Conflict, Malformed."""
    if if_match is None:
        return {item.key: body_version} if item and body_version else {}
    if if_match.strip() == "*":
        if item is None:
            raise Conflict("If-Match: * asks for an object that stands, and there is none.")
        return {}
    tag = if_match.strip().removeprefix("W/").strip('"')
    if not tag.isascii() or not tag.isdigit() or len(tag) > 18:
        raise Malformed('If-Match takes the ETag of a GET, like "42".')
    if item is None:
        raise Conflict("The object is gone: it cannot be at the version that If-Match names.")
    return {item.key: int(tag)}


def router(plural: str) -> APIRouter:
    """The routes of one kind."""
    kind = PLURALS[plural]
    model: Any = KINDS[kind]
    routes = APIRouter(prefix=f"/{plural}", tags=[plural])
    schema = {"schema": {"$ref": f"#/components/schemas/{kind}"}}
    takes = {"requestBody": {"required": True, "content": {"application/json": schema, "application/yaml": schema}}}
    patch = {"requestBody": {"required": True, "content": {"application/merge-patch+json": {"schema": {"type": "object"}}}}}
    gives: dict[int | str, dict[str, Any]] = {200: {"model": model}}

    @routes.get("", summary=f"List {plural}", responses={200: {"model": pages.page_of(model)}})
    async def list_all(door: DoorOf, asked: Annotated[pages.Asked, Query()]) -> Response:
        return await pages.page(door, kind, asked, lambda item: True)

    @routes.post("", summary=f"Create one {kind}", status_code=201, openapi_extra=takes, responses={201: {"model": model}})
    async def create(request: Request, door: DoorOf, who: Asking, dry_run: DryRun = False) -> Response:
        item, _ = await bodies.manifest(request, kind, None)
        if await _maybe(door, item.key) is not None:
            raise Exists(f"{item.key} exists already: PUT replaces it, or choose another name.")
        return await _put(door, who, writes.Wish([item], {item.key: 0}, dry_run=dry_run), 201)

    @routes.get("/{name}", summary=f"Read one {kind}", responses=gives)
    async def read(name: str, door: DoorOf) -> Response:
        return await answer(door, await find(door, kind, name))

    @routes.put("/{name}", summary=f"Create or replace one {kind}", openapi_extra=takes, responses=gives)
    async def replace(
        name: str,
        request: Request,
        door: DoorOf,
        who: Asking,
        force: Force = False,
        dry_run: DryRun = False,
        if_match: IfMatch = None,
    ) -> Response:
        item, version = await bodies.manifest(request, kind, name)
        before = await _maybe(door, item.key)
        wish = writes.Wish([item], expected(before, if_match, version), force, dry_run)
        return await _put(door, who, wish, 200 if before else 201)

    @routes.patch("/{name}", summary=f"Change parts of one {kind} (RFC 7396)", openapi_extra=patch, responses=gives)
    async def merge(
        name: str,
        request: Request,
        door: DoorOf,
        who: Asking,
        force: Force = False,
        dry_run: DryRun = False,
        if_match: IfMatch = None,
    ) -> Response:
        change = bodies.parse_json(await bodies.raw(request))
        before = await find(door, kind, name)
        item, _ = bodies.patched(before, change)
        expect = expected(before, if_match, before.metadata.resource_version)
        return await _put(door, who, writes.Wish([item], expect, force, dry_run), 200)

    @routes.delete("/{name}", summary=f"Delete one {kind}", status_code=202, responses={202: {"model": model}})
    async def delete(name: str, door: DoorOf, force: Force = False, if_match: IfMatch = None) -> Response:
        item = await find(door, kind, name)
        await writes.delete(door, item.key, expected(item, if_match), force=force)
        return await answer(door, await _maybe(door, item.key) or item, 202)

    @routes.post("/{name}/suspend", summary=f"Leave one {kind} alone", responses=gives)
    async def suspend(name: str, door: DoorOf) -> Response:
        return await _annotate(door, await find(door, kind, name), "true")

    @routes.post("/{name}/resume", summary=f"Look after one {kind} again", responses=gives)
    async def resume(name: str, door: DoorOf) -> Response:
        return await _annotate(door, await find(door, kind, name), None)

    @routes.get("/{name}/why", summary=f"The first thing in the way of one {kind}")
    async def explain(name: str, door: DoorOf) -> dict[str, str]:
        item = await find(door, kind, name)
        seen = await door.liveness.shown(list(door.mirror.objects.values()))
        return {"object": item.key, "why": why(item.key, {one.key: one for one in seen})}

    return routes


async def _put(door: Door, who: Principal, wish: writes.Wish, status: int) -> Response:
    await writes.put(door, who, wish)
    item = wish.objects[0]
    return await answer(door, item if wish.dry_run else await find(door, item.kind, item.name), status)


async def _annotate(door: Door, item: Object, paused: str | None) -> Response:
    await door.store.annotate(item.key, {PAUSED: paused})
    return await answer(door, await find(door, item.kind, item.name))


async def _maybe(door: Door, key: str) -> Object | None:
    await door.mirror.fresh()
    return door.mirror.objects.get(key)
