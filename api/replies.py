"""An object as the answer to a request, and the answer to a write."""

import json
from collections.abc import Mapping
from dataclasses import replace

from fastapi.responses import Response

from api import once, permission, writes
from api.deps import Door, Principal
from api.foreseen import as_stored
from api.live import reads
from api.live.reads import STALE
from api.once import Attempt, Compose
from api.preconditions import UNSEEN
from controller.ports.requests import Kept
from controller.ports.store import Applied, Lease, NotFound
from manifests.kinds import Object
from manifests.types import shown


async def find(door: Door, who: Principal, kind: str, name: str) -> Object:
    """NotFound, whatever the name holds, and for what the asker may not see."""
    item = await maybe(door, who, f"{kind}/{name}")
    if item is None:
        raise NotFound(f"There is no {kind}/{shown(name)[1:-1]}.")
    return item


async def maybe(door: Door, who: Principal, key: str) -> Object | None:
    """None also for what the asker may not see."""
    await door.mirror.fresh()
    item = door.mirror.objects.get(key)
    return item if item is not None and permission.visible(door, who)(item) else None


async def answer(door: Door, item: Object, status: int = 200) -> Response:
    return told(door, item, await door.liveness.gone([item]), status)


def told(door: Door, item: Object, gone: Mapping[str, Lease | None], status: int = 200) -> Response:
    headers = _etag(item, unseen=bool(gone))  # it is shown otherwise than it will be afterwards
    if door.mirror.lost:
        headers |= STALE
    return reads.answer(door.reads.one(item, gone), status, headers)


async def put(door: Door, who: Principal, wish: writes.Wish, attempt: Attempt, compose: Compose) -> Response:
    """Carries the wish out, once. What ``writes.put`` raises."""
    before = {item.key: door.mirror.objects.get(item.key) for item in wish.objects} if wish.dry_run else {}
    applied = await writes.put(door, who, replace(wish, record=attempt.record(compose)))
    if attempt.kept is not None:
        return once.response(attempt.kept)
    standing = door.mirror.objects
    after = {item.key: as_stored(item, before[item.key]) for item in wish.objects} if wish.dry_run else standing
    return once.response(compose(applied, after))


async def composer(door: Door, item: Object, status: int) -> Compose:
    """Answers with this object as it stands after a write."""
    gone = await door.liveness.gone([item])

    def compose(applied: Applied, objects: Mapping[str, Object]) -> Kept:
        seen = door.liveness.seen(objects.get(item.key, item), gone)
        return Kept(status, json.dumps(seen.wire(), separators=(",", ":")), _etag(seen).get("ETag"))

    return compose


def _etag(item: Object, *, unseen: bool = False) -> dict[str, str]:
    """None for an object that is not stored."""
    version = item.metadata.resource_version
    return {} if version is None else {"ETag": f'"{version}{UNSEEN if unseen else ""}"'}
