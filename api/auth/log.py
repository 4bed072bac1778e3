"""What happened at the door: every authentication passes here, on its way to whoever keeps the record."""

from typing import TYPE_CHECKING, Literal

import structlog

if TYPE_CHECKING:
    from api.deps import Door

Outcome = Literal["allowed", "refused", "locked", "reused"]


async def note(
    door: "Door", action: str, name: str, address: str, request_id: str, outcome: Outcome, subject: str = ""
) -> None:
    """``action`` is a constant word like ``login``, ``name`` who acts (or tries to log in), ``subject`` the account or key
    that it is done to, where that is another. No secret comes here."""
    log = structlog.get_logger("api.auth")
    more = {"subject": subject} if subject else {}
    log.info("authentication", action=action, name=name, address=address, request_id=request_id, outcome=outcome, **more)
