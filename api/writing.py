"""Create, replace and change one object."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api import bodies, examples, writes
from api.answers import gives, refusals
from api.deps import Asking, Door, DoorOf, Principal
from api.errors import Exists
from api.once import Again, Attempt
from api.parameters import DryRun, Force
from api.preconditions import IfMatch, IfNoneMatch, expected
from api.replies import composer, find, maybe, put
from controller.ports.store import Conflict
from manifests.kinds import Object

_TRIES = 8
_PATCH = {"schema": {"type": "object"}, "example": {"metadata": {"labels": {"room": "main"}}}}


def add(routes: APIRouter, kind: str) -> None:
    schema = {"schema": {"$ref": f"#/components/schemas/{kind}"}, **examples.manifest(kind)}
    takes = {"requestBody": {"required": True, "content": {"application/json": schema, "application/yaml": schema}}}
    patch = {"requestBody": {"required": True, "content": {"application/merge-patch+json": _PATCH}}}
    made = gives(kind, 201) | refusals(400, 409, 412, 413)
    changed = gives(kind) | refusals(400, 404, 409, 412, 413)

    @routes.post("", summary=f"Create one {kind}", status_code=201, openapi_extra=takes, responses=made)
    async def create(request: Request, door: DoorOf, who: Asking, again: Again, dry_run: DryRun = False) -> Response:
        async def act(attempt: Attempt) -> Response:
            item, _ = await bodies.manifest(request, kind, None)
            return await create_one(door, who, writes.Wish([item], {item.key: 0}, dry_run=dry_run), attempt)

        return await again.once(act, dry_run=dry_run)

    @routes.put("/{name}", summary=f"Create or replace one {kind}", openapi_extra=takes, responses=changed | made)
    async def replace(
        name: str,
        request: Request,
        door: DoorOf,
        who: Asking,
        force: Force = False,
        dry_run: DryRun = False,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        item, version = await bodies.manifest(request, kind, name)
        before = await maybe(door, who, item.key)
        expect = expected(item.key, before, if_match, if_none_match, version)
        wish = writes.Wish([item], expect, force, dry_run)
        return await put(door, who, wish, Attempt(), await composer(door, item, 200 if before else 201))

    @routes.patch("/{name}", summary=f"Change parts of one {kind} (RFC 7396)", openapi_extra=patch, responses=changed)
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
        for left in reversed(range(_TRIES)):
            item, expect, free = _merged(await find(door, who, kind, name), change, if_match)
            try:
                wish = writes.Wish([item], expect, force, dry_run)
                return await put(door, who, wish, Attempt(), await composer(door, item, 200))
            except Conflict:
                if not (free and left):
                    raise
        raise AssertionError("unreachable")


async def create_one(door: Door, who: Principal, wish: writes.Wish, attempt: Attempt, status: int = 201) -> Response:
    """Of one object, which must not be there. Exists, and what ``writes.put`` raises."""
    (item,) = wish.objects
    if await maybe(door, who, item.key) is None:
        try:
            return await put(door, who, wish, attempt, await composer(door, item, status))
        except Conflict:
            if await maybe(door, who, item.key) is None:
                raise
    raise Exists(f"{item.key} exists already: PUT replaces it, or choose another name.")


def _merged(before: Object, change: Any, if_match: str | None) -> tuple[Object, dict[str, int], bool]:
    """The object with the patch in it, what must still stand, and whether it may be merged into a newer one as well:
    it may where the client has not said which one it has read, or that any will do. Invalid, Conflict, Malformed."""
    item, version = bodies.patched(before, change)
    metadata = change.get("metadata") if isinstance(change, dict) else None
    named = isinstance(metadata, dict) and "resourceVersion" in metadata
    expect = expected(before.key, before, if_match, body=version if named else None)
    return item, expect or {before.key: before.metadata.resource_version or 0}, not expect
