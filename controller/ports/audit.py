"""What we ask of the audit log: who did what, from where, before and after; it only ever grows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from controller.core.chain import Finding, Mark

Outcome = Literal["ok", "failed", "refused", "locked", "reused"]
CONTROLLER = "controller"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it: ``api:NAME`` for a user, ``git:SOURCE``, ``controller``; from where, in which request."""

    name: str
    address: str = ""
    request_id: str = ""


OURSELVES = Actor(CONTROLLER)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done or tried. ``object`` is its key; ``subject`` the user whom it concerns, by name.

    Name and address of a person belong into ``by`` and ``subject``, from where they can be erased, and nowhere else.
    """

    at: datetime
    by: Actor
    action: str
    object: str | None = None
    subject: str | None = None
    outcome: Outcome = "ok"
    before: Any = None
    after: Any = None
    count: int = 1


Told = Callable[[T], Entry]
"""Makes the row of a change from what only the change itself can tell. Pure."""


@dataclass(frozen=True, slots=True)
class Audited:
    """A row as it is read. ``who`` is ``erased:DIGEST`` once the name was erased; the sides are masked and bounded."""

    seq: int
    at: datetime
    who: str
    address: str
    request_id: str
    action: str
    outcome: str
    object: str | None
    count: int
    before: Any
    after: Any
    hash: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Filters, all of which must hold. ``who`` and ``object`` are exact; a user may be written without ``api:``."""

    who: str | None = None
    object: str | None = None
    action: str | None = None
    since: datetime | None = None
    below: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Verified:
    """``checkpoint`` is the last row that was pruned. The chain is whole if there are no findings."""

    rows: int
    head: Mark
    checkpoint: Mark
    findings: Sequence[Finding]


class Audit(Protocol):
    """Every method is one transaction, but for ``verify_audit`` and ``audit_about``, which read in many. StoreError."""

    async def note(self, entries: Sequence[Entry]) -> None: ...

    async def audit(self, asked: Asked) -> Sequence[Audited]:
        """The newest first."""

    async def audit_about(self, user: str) -> Sequence[Audited]:
        """All that this user did or that concerns them, the oldest first."""

    async def verify_audit(self, noted: Mark | None = None) -> Verified:
        """Looks at every row there is. ``noted``: a head seen earlier, which must still be in the chain (seq 0: any)."""

    async def prune_audit(self, before: datetime, by: Actor, now: datetime) -> int:
        """Removes what is older, but the checkpoint that the rest is verified from; the number of rows."""

    async def erase(self, user: str, by: Actor, now: datetime) -> Mapping[str, int]:
        """Forgets this user's name and addresses in the audit log, and whose an object is or was: how many of each."""
