"""What happened at the door: every authentication passes here, on its way to whoever keeps the record."""

from typing import TYPE_CHECKING, Any, Literal

import structlog

from api.recording import record
from controller.ports.audit import Actor

if TYPE_CHECKING:
    from api.deps import Door

Outcome = Literal["allowed", "refused", "locked", "reused"]


async def note(
    door: "Door",
    action: str,
    name: str,
    address: str,
    request_id: str,
    outcome: Outcome,
    subject: str = "",
    *,
    before: Any = None,
    after: Any = None,
) -> None:
    """``action`` is a constant word like ``login``, ``name`` who acts (or tries to log in), ``subject`` the account or key
    that it is done to, where that is another. What passwords were is never told. StoreError."""
    log = structlog.get_logger("api.auth")
    more = {"subject": subject} if subject else {}
    log.info("authentication", action=action, name=name, address=address, request_id=request_id, outcome=outcome, **more)
    actor, result = Actor(f"api:{name or 'unknown'}", address, request_id), "ok" if outcome == "allowed" else outcome
    key, user = (f"Token/{subject}", None) if action.startswith("token-") else (None, subject or None)
    await record(door, actor, action, result, user, object_=key, before=before, after=after)
