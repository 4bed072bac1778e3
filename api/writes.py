"""The one way in for specs: what would stand afterwards is valid as a whole, or nothing is written.

Who may write what: an object that a git source manages is changed there, unless the writer forces it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.deps import Door, Principal
from api.problems import Guarded, Managed
from controller.ports.store import Applied, NotFound
from manifests.kinds import Object
from manifests.load import Invalid
from manifests.meta import DISRUPTION
from manifests.references import check
from manifests.session import Session


@dataclass(frozen=True, slots=True)
class Wish:
    """Specs to stand; ``expect`` holds resourceVersions that must still stand, 0 for an object that must not be there."""

    objects: Sequence[Object]
    expect: Mapping[str, int]
    force: bool = False
    dry_run: bool = False


async def put(door: Door, who: Principal, wish: Wish) -> Applied:
    """Invalid, Managed, Conflict."""
    async with door.writing:
        stored, _ = await door.store.list()
        standing = {item.key: item for item in stored}
        if not wish.force:
            unmanaged([standing[item.key] for item in wish.objects if item.key in standing])
        whole({**living(stored), **{item.key: item for item in wish.objects}})
        now = door.clock.now()
        return await door.store.put(
            wish.objects, who.manager, now, expect=wish.expect, dry_run=wish.dry_run, force=wish.force
        )


async def delete(door: Door, key: str, expect: Mapping[str, int], *, force: bool = False) -> Applied:
    """NotFound, Invalid (something still refers to it), Managed, Guarded, Conflict."""
    async with door.writing:
        stored, _ = await door.store.list()
        left = living(stored)
        item = left.pop(key, None)
        if item is None:
            raise NotFound(f"There is no {key}.")
        if not force:
            unmanaged([item])
            idle(item, stored)
        whole(left)
        if force:
            await door.store.annotate(key, {DISRUPTION: "allowed"})
            expect = {}
        return await door.store.mark_deleted([key], door.clock.now(), expect=expect)


def living(objects: Iterable[Object]) -> dict[str, Object]:
    """Without those that are on their way out: nobody may count on them any more."""
    return {item.key: item for item in objects if item.metadata.deleted_at is None}


def whole(objects: Mapping[str, Object]) -> None:
    """Invalid."""
    if problems := check(objects.values()):
        raise Invalid(problems)


def unmanaged(objects: Iterable[Object]) -> None:
    """Managed."""
    for item in objects:
        manager = item.metadata.managed_by or ""
        if manager.startswith("git:") and item.metadata.deleted_at is None:
            source = manager.removeprefix("git:")
            raise Managed(
                f"{item.key} is managed by source {source}: change it there, or force the write (the source wins it back)."
            )


def idle(item: Object, stored: Iterable[Object]) -> None:
    """Guarded, when the object's PC is running from the disk that would go."""
    sessions = [one for one in stored if isinstance(one, Session) and one.status and one.status.phase == "Active"]
    for one in sessions:
        if one.key == item.key or f"Machine/{one.spec.machine}" == item.key:
            raise Guarded(f"{one.spec.machine} is logged in to the disk of {one.key}: shut it down first, or force the cut.")


def applied_wire(applied: Applied, *, dry_run: bool = False) -> dict[str, Any]:
    return {
        "created": list(applied.created),
        "changed": list(applied.changed),
        "deleted": list(applied.deleted),
        "unchanged": applied.unchanged,
        "resourceVersion": applied.resource_version,
        "dryRun": dry_run,
    }
