"""Delete objects, and bring them back: what was deleted is kept for a time, and restored as what it was."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api import foreseen, permission, selectors, writes
from api.answers import gives, refusals
from api.deps import Asking, Door, DoorOf, Principal
from api.errors import Exists, Guarded, Managed
from api.once import Again, Attempt
from api.parameters import DryRun, Force
from api.preconditions import IfMatch, expected
from api.replies import answer, composer, find, maybe, put
from api.writing import create_one
from controller.core.prune import guard
from controller.ports.store import NotFound
from controller.ports.tombstones import Tombstone
from manifests.kinds import Object
from manifests.types import shown

Selector = Annotated[
    str,
    Query(alias="labelSelector", min_length=1, max_length=4096, description="which: never empty, so never all by mistake"),
]
Uid = Annotated[str | None, Query(max_length=36, description="which one, when several had this name; default: the last one")]


def add(routes: APIRouter, plural: str, kind: str) -> None:
    refused = refusals(400, 404, 409, 412)
    one = gives(kind, 202) | refused
    many = {202: {"model": writes.Outcome}} | refused

    @routes.delete("/{name}", summary=f"Delete one {kind}", status_code=202, responses=one)
    async def delete(
        name: str,
        door: DoorOf,
        who: Asking,
        force: Force = False,
        dry_run: DryRun = False,
        if_match: IfMatch = None,
    ) -> Response:
        item = await find(door, who, kind, name)
        gone = writes.Removal([item.key], expected(item.key, item, if_match), force, dry_run)
        await writes.delete(door, who, gone)
        after = foreseen.deleted(item, door.clock.now(), force=force) if dry_run else await maybe(door, who, item.key)
        return await answer(door, after or item, 202)

    @routes.delete("", summary=f"Delete many {plural}", status_code=202, responses=many)
    async def delete_many(
        door: DoorOf, who: Asking, label_selector: Selector, force: Force = False, dry_run: DryRun = False
    ) -> dict[str, Any]:
        """All that the selector chooses, or none. More than 5 and a tenth of all only with ``force``."""
        keys = await _chosen(door, who, kind, label_selector, force=force)
        applied = await writes.delete(door, who, writes.Removal(keys, force=force, dry_run=dry_run))
        return writes.applied_wire(applied, dry_run=dry_run)

    @routes.post("/{name}/restore", summary=f"Bring one {kind} back", responses=gives(kind) | refused)
    async def restore(
        name: str,
        door: DoorOf,
        who: Asking,
        again: Again,
        uid: Uid = None,
        force: Force = False,
        dry_run: DryRun = False,
    ) -> Response:
        key = f"{kind}/{shown(name)[1:-1]}"
        return await again.once(
            lambda attempt: _restore(door, who, key, uid, attempt, force=force, dry_run=dry_run), dry_run=dry_run
        )


async def _chosen(door: Door, who: Principal, kind: str, selector: str, *, force: bool) -> Sequence[str]:
    """Guarded, Malformed."""
    matches = selectors.parse(selector)
    await door.mirror.fresh()
    may_see = permission.visible(door, who)
    standing = [one for one in door.mirror.objects.values() if one.kind == kind and may_see(one)]
    standing = [one for one in standing if one.metadata.deleted_at is None]
    keys = sorted(one.key for one in standing if matches(one.metadata.labels))
    if not force and not guard(len(standing), len(keys)):
        raise Guarded(
            f"That would delete {len(keys)} of {len(standing)} objects, more than the prune guard allows: narrow "
            "labelSelector, or force it."
        )
    return keys


async def _restore(
    door: Door, who: Principal, key: str, uid: str | None, attempt: Attempt, *, force: bool, dry_run: bool
) -> Response:
    """NotFound, Exists, Managed, Invalid."""
    standing = await maybe(door, who, key)
    if standing is not None and standing.metadata.deleted_at is not None and uid in (None, standing.metadata.uid):
        return await _wanted_again(door, who, standing, attempt, force=force, dry_run=dry_run)
    if standing is not None:
        raise Exists(f"{key} exists: delete it first, or leave what was deleted where it is.")
    found = await _buried(door, who, key, uid)
    item, metadata = found.object, found.object.metadata
    manager = metadata.managed_by or ""
    if manager.startswith("git:") and metadata.overridden_by is None and not force:
        raise Managed(
            f"{key} was managed by source {manager.removeprefix('git:')}, which no longer holds it: declare it there "
            "again, or force the restore (it is then yours)."
        )
    revive = {key: metadata.uid or ""}
    wish = writes.Wish([foreseen.wanted(item)], {key: 0}, force, dry_run, revive=revive)
    return await create_one(door, who, wish, attempt, status=200)


async def _wanted_again(
    door: Door, who: Principal, item: Object, attempt: Attempt, *, force: bool, dry_run: bool
) -> Response:
    """Nothing was removed yet: it is simply put again."""
    wish = writes.Wish([foreseen.wanted(item)], {item.key: item.metadata.resource_version or 0}, force, dry_run)
    return await put(door, who, wish, attempt, await composer(door, item, 200))


async def _buried(door: Door, who: Principal, key: str, uid: str | None) -> Tombstone:
    """NotFound."""
    may_see = permission.visible(door, who)
    found = [one for one in await door.store.tombstones(door.clock.now(), key=key, limit=1000) if may_see(one.object)]
    for one in found:
        if uid in (None, one.object.metadata.uid):
            return one
    named = f" with uid {shown(uid)}" if uid is not None and found else ""
    raise NotFound(f"There is no deleted {key}{named} that can be restored: see GET /api/v1/deleted.")
