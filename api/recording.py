"""What happens at the door, on its way into the audit log. Changes of objects write their rows themselves, in the store.

What succeeds is a row. What fails may be made to fail without end by whoever likes, so of that few rows are written (see
``controller.core.floods``): a flood costs neither the disk nor the sight of everything else.
"""

from typing import TYPE_CHECKING, Any

from controller.ports.audit import Actor, Entry, Outcome

if TYPE_CHECKING:
    from api.deps import Door

OTHERS = Actor("others")
"""Stands for all whose failures are too many to be told one by one."""


async def record(
    door: "Door",
    by: Actor,
    action: str,
    outcome: Outcome = "ok",
    subject: str | None = None,
    *,
    object_: str | None = None,
    before: Any = None,
    after: Any = None,
) -> None:
    """``action`` is a constant word: login, logout, refresh, password-changed, user-created, token-created ...

    ``by`` is who they say they are; ``subject`` the user whom it concerns, if that is another. Secrets may stand in fields
    that are called so; names and addresses belong into ``by`` and ``subject`` alone. StoreError.
    """
    now = door.clock.now()
    if outcome == "ok":
        await door.store.note([Entry(now, by, action, object_, subject, before=before, after=after)])
        return
    key = (action, outcome, by.name, by.address, subject)
    entries = []
    for told, count in door.flood.count(key, door.clock.monotonic()):
        if told == key:
            entries.append(Entry(now, by, action, object_, subject, outcome, before, after, count))
        elif told is None:
            entries.append(Entry(now, OTHERS, "refusals", outcome="failed", count=count))
        else:
            what, how, name, address, whom = told
            entries.append(Entry(now, Actor(name, address), what, None, whom, how, count=count))
    await door.store.note(entries)
