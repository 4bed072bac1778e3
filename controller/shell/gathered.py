"""From what is new in the logs to what is told of it. Nothing here asks anybody."""

from collections.abc import Sequence

from controller.core import notices
from controller.core.notices import Notice
from controller.ports.notices import Glance
from controller.ports.store import Event, Revision

_DRIFTED = "Drifted"


def gathered(glance: Glance) -> Sequence[Notice]:
    """What is to be told of it, objects first."""
    if glance.gap:
        message = "changes were missed: list everything afresh"
        return [Notice(notices.GAP, notices.GAP, {}, {"message": message, "resourceVersion": glance.end.changes})]
    found = [one for key in glance.keys for one in notices.of_object(key, glance.before.get(key), glance.now.get(key))]
    for event in glance.events:
        kind = notices.DRIFT if event.reason == _DRIFTED else notices.WARNING
        if event.type == "Warning":
            found.append(Notice(kind, event.key, glance.labels.get(event.key, {}), {"event": _event(event)}))
    return [*found, *map(_revision, glance.revisions)]


def _revision(one: Revision) -> Notice:
    said = {
        "source": one.source,
        "sha": one.sha,
        "author": one.author,
        "message": one.message[:1000],
        "verdict": one.verdict,
        "problems": len(one.problems),
        "state": "converged" if one.converged_at else "received",
    }
    return Notice(notices.REVISION, f"Source/{one.source}", {}, said)


def _event(event: Event) -> dict[str, object]:
    return {
        "object": event.key,
        "reason": event.reason,
        "message": event.message,
        "first": event.first.isoformat(),
        "last": event.last.isoformat(),
        "count": event.count,
    }
