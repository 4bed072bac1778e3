"""The one way in for specs: what would stand afterwards is valid as a whole, or nothing is written.

A write is judged inside its own transaction, where nobody can write in between, by this process's copy of the objects:
it takes in what others have committed meanwhile, and checks the change among its neighbours only.

Who may write what: an object that a git source manages is changed there, unless the writer forces it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from pydantic import ConfigDict

from api import overrides, permission
from api.deps import Door, Principal
from api.errors import Guarded, Managed
from api.live.mirror import Mirror
from api.verbs import Verb
from controller.ports.requests import Record
from controller.ports.store import Applied, Gone, News, NotFound
from manifests.kinds import Object
from manifests.load import Invalid
from manifests.meta import DISRUPTION, Strict
from manifests.references import check
from manifests.session import Session

T = TypeVar("T")
_MANY = 200

Rule = Callable[[Mapping[str, Object]], None]
"""What the objects that stand must allow, or it raises."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Specs to stand; ``expect`` holds resourceVersions that must still stand, 0 for an object that must not be there.

    ``revive`` are the uids of what is restored, ``record`` is kept with the change (both as in ``Store.put``).
    """

    objects: Sequence[Object]
    expect: Mapping[str, int]
    force: bool = False
    dry_run: bool = False
    verb: Verb = Verb.WRITE
    revive: Mapping[str, str] = field(default_factory=dict)
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """Objects that are to go, all or none."""

    keys: Sequence[str]
    expect: Mapping[str, int] = field(default_factory=dict)
    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Judge:
    """Answers ``Admission``: ``changed`` is how the objects would stand, None for one that would go."""

    mirror: Mirror
    changed: Mapping[str, Object | None]
    rules: Sequence[Rule] = ()

    @property
    def known(self) -> int:
        return self.mirror.known

    async def admit(self, news: Sequence[News]) -> None:
        """Invalid, and what the rules raise."""
        await self.mirror.admit(news)
        for rule in self.rules:
            rule(self.mirror.objects)
        around = self.mirror.neighbours.around(self.changed, self.mirror.objects)
        if len(around) > _MANY:
            await anyio.to_thread.run_sync(whole, around)
        else:
            whole(around)


async def put(door: Door, who: Principal, wish: Wish) -> Applied:
    """Forbidden, Invalid, Managed, Conflict."""
    keys = [item.key for item in wish.objects]

    def ours(standing: Mapping[str, Object]) -> None:
        unmanaged([standing[key] for key in keys if key in standing])

    def permitted(standing: Mapping[str, Object]) -> None:
        pairs = [(standing.get(item.key), item) for item in wish.objects]
        permission.allow(door, who, wish.verb, pairs, standing, force=wish.force, revived=wish.revive)

    rules = (permitted,) if wish.force else (permitted, ours)
    judge = _Judge(door.mirror, {item.key: item for item in wish.objects}, rules)
    with permission.discreet(door, who):
        applied = await _judged(
            door,
            lambda: door.store.put(
                wish.objects,
                who.manager,
                door.clock.now(),
                expect=wish.expect,
                dry_run=wish.dry_run,
                force=wish.force,
                revive=wish.revive,
                record=wish.record,
                admission=judge,
                by=who.actor,
            ),
        )
    if wish.force and not wish.dry_run:
        await overrides.tell(door, who, (*applied.created, *applied.changed))
    return applied


async def delete(door: Door, who: Principal, gone: Removal) -> Applied:
    """NotFound, Invalid (something still refers to it), Managed, Guarded, Conflict."""

    def there(standing: Mapping[str, Object]) -> None:
        for key in gone.keys:
            item = standing.get(key)
            if item is None:
                raise NotFound(f"There is no {key}.")
            permission.allow(door, who, Verb.DELETE, [(item, None)], standing, force=gone.force)
            if not gone.force:
                unmanaged([item])
        if not gone.force:
            idle(gone.keys, standing.values(), permission.visible(door, who))

    judge = _Judge(door.mirror, dict.fromkeys(gone.keys), (there,))
    with permission.discreet(door, who):
        applied = await _judged(
            door,
            lambda: door.store.mark_deleted(
                gone.keys,
                door.clock.now(),
                who=who.manager,
                annotations={DISRUPTION: "allowed"} if gone.force else None,
                expect=gone.expect,
                dry_run=gone.dry_run,
                admission=judge,
                by=who.actor,
            ),
        )
    if gone.force and not gone.dry_run:
        await overrides.tell(door, who, applied.deleted)
    return applied


async def _judged(door: Door, write: Callable[[], Awaitable[T]]) -> T:
    """What was written is in the copy when this returns. Once more where the copy had fallen too far behind to judge."""
    try:
        return await write()
    except Gone:
        await door.mirror.fresh()
        return await write()
    finally:
        await door.mirror.fresh()


def living(objects: Iterable[Object]) -> dict[str, Object]:
    """Without those that are on their way out: nobody may count on them any more."""
    return {item.key: item for item in objects if item.metadata.deleted_at is None}


def whole(objects: Iterable[Object]) -> None:
    """Invalid."""
    if problems := check(objects):
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


def idle(keys: Iterable[str], stored: Iterable[Object], visible: Callable[[Object], bool]) -> None:
    """Guarded, when a PC is running from a disk that would go with one of these; which, is told if it is ``visible``."""
    going = frozenset(keys)
    sessions = [one for one in stored if isinstance(one, Session) and one.status and one.status.phase == "Active"]
    for one in sessions:
        if going & {one.key, f"Machine/{one.spec.machine}"}:
            disk = f"the disk of {one.key}" if visible(one) else "a disk"
            raise Guarded(f"{one.spec.machine} is logged in to {disk}: shut it down first, or force the cut.")


class Outcome(Strict):
    """What one transaction did, or would do."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "created": ["Session/pc08"],
                "changed": ["Machine/pc07"],
                "deleted": [],
                "unchanged": 2,
                "resourceVersion": 42,
                "dryRun": False,
            }
        }
    )

    created: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    unchanged: int
    resource_version: int
    dry_run: bool


def applied_wire(applied: Applied, *, dry_run: bool = False) -> dict[str, Any]:
    return Outcome(
        created=applied.created,
        changed=applied.changed,
        deleted=applied.deleted,
        unchanged=applied.unchanged,
        resource_version=applied.resource_version,
        dry_run=dry_run,
    ).wire()
