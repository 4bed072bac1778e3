"""What happened at the door: every authentication passes here, on its way to whoever keeps the record."""

from typing import TYPE_CHECKING, Any, Literal

import structlog

from api import recording
from controller.ports.audit import Actor, Entry

if TYPE_CHECKING:
    from api.deps import Door, Principal

Failure = Literal["refused", "locked"]


def entry(
    door: "Door",
    who: "Principal",
    action: str,
    subject: str = "",
    *,
    name: str | None = None,
    before: Any = None,
    after: Any = None,
) -> Entry:
    """The row of what is allowed, for the transaction of its change; ``say`` it once that is done.

    ``action`` is a constant word like ``login``, ``name`` who it turned out to be, ``subject`` the account or key that it
    is done to, where that is another. What passwords were is never told.
    """
    key, user = (f"Token/{subject}", None) if action.startswith("token-") else (None, subject or None)
    actor = _actor(who, who.name if name is None else name)
    return recording.entry(door, actor, action, user, object_=key, before=before, after=after)


def say(told: Entry) -> None:
    """In the log."""
    subject = told.subject or (told.object or "").removeprefix("Token/")
    _say(told.action, told.by, "allowed" if told.outcome == "ok" else told.outcome, {"subject": subject} if subject else {})


async def failed(door: "Door", action: str, name: str, who: "Principal", outcome: Failure) -> None:
    """``name`` as it was given. StoreError."""
    actor = _actor(who, name)
    _say(action, actor, outcome, {})
    await recording.failed(door, actor, action, outcome)


def _actor(who: "Principal", name: str) -> Actor:
    return Actor(f"api:{name or 'unknown'}", who.address, who.request_id)


def _say(action: str, by: Actor, outcome: str, more: dict[str, str]) -> None:
    name = by.name.removeprefix("api:")
    log = structlog.get_logger("api.auth")
    log.info(
        "authentication", action=action, name=name, address=by.address, request_id=by.request_id, outcome=outcome, **more
    )
