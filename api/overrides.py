"""What is forced over a source: said when it happens, and shown as drift for as long as it stands."""

from collections.abc import Iterable, Sequence
from typing import Any

from api.deps import Door, Principal
from controller.ports.store import Event
from manifests.kinds import Object


async def tell(door: Door, who: Principal, keys: Sequence[str]) -> None:
    """Of those that are a source's; the copy of the objects has them as they were written."""
    now, told = door.clock.now(), []
    for item in (door.mirror.objects[key] for key in keys if key in door.mirror.objects):
        if item.metadata.overridden_by == who.manager:
            what = "deleted" if item.metadata.deleted_at else "changed"
            message = (
                f"{who.manager} {what} by force what {item.metadata.managed_by} says; it is put back at its next reading"
            )
            told.append(Event(item.key, "Warning", "Overridden", message, now, now))
    if told:
        await door.store.tell(told)


def wire(objects: Iterable[Object]) -> list[dict[str, Any]]:
    """What stands overridden now, by key; what is suspended stays so until it is resumed."""
    return [
        {
            "object": item.key,
            "source": (item.metadata.managed_by or "").removeprefix("git:"),
            "by": item.metadata.overridden_by,
            "deleted": item.metadata.deleted_at is not None,
            "suspended": item.metadata.paused,
        }
        for item in sorted(objects, key=lambda item: item.key)
        if item.metadata.overridden_by is not None
    ]
