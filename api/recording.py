"""What happens at the door, on its way into the audit log.

What succeeds is a row that goes with its change into one transaction, in the store: ``entry`` makes it. What fails changes
nothing, and may be made to fail without end by whoever likes, so of that few rows are written (see
``controller.core.floods``): a flood costs neither the disk nor the sight of everything else.
"""

from typing import TYPE_CHECKING, Any

from controller.ports.audit import Actor, Entry, Outcome

if TYPE_CHECKING:
    from api.deps import Door

OTHERS = Actor("others")
"""Stands for all whose failures are too many to be told one by one."""


def entry(
    door: "Door",
    by: Actor,
    action: str,
    subject: str | None = None,
    *,
    object_: str | None = None,
    before: Any = None,
    after: Any = None,
) -> Entry:
    """``action`` is a constant word: login, logout, refresh, password, user-create, token-create ...

    ``by`` is who they say they are; ``subject`` the user whom it concerns, if that is another. Secrets may stand in fields
    that are called so; names and addresses belong into ``by`` and ``subject`` alone.
    """
    return Entry(door.clock.now(), by, action, object_, subject, before=before, after=after)


async def failed(door: "Door", by: Actor, action: str, outcome: Outcome) -> None:
    """StoreError."""
    now, key = door.clock.now(), (action, outcome, by.name, by.address)
    entries = []
    for told, count in door.flood.count(key, door.clock.monotonic()):
        if told == key:
            entries.append(Entry(now, by, action, outcome=outcome, count=count))
        elif told is None:
            entries.append(Entry(now, OTHERS, "refusals", outcome="failed", count=count))
        else:
            what, how, name, address = told
            entries.append(Entry(now, Actor(name, address), what, outcome=how, count=count))
    await door.store.note(entries)
