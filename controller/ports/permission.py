"""What we ask of the database about permission: who is bound to what, beyond or instead of what a role gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from controller.ports.audit import Entry, Told


class Widens(Exception):
    """It is the last binding that narrows this user, who would see everything without it."""


class TooMany(Exception):
    """A user has as many bindings as one may have: select more with fewer."""


@dataclass(frozen=True, slots=True)
class Binding:
    """``user`` may do ``verbs`` with what ``selector`` selects; ``narrows`` takes away all that the role alone gives."""

    id: str
    user: str
    verbs: tuple[str, ...]
    selector: str
    narrows: bool
    created_at: datetime
    created_by: str


class Bindings(Protocol):
    """Every method is one transaction, the audit row ``told`` with it, and may raise StoreError. They go with the account
    whose they are."""

    async def bindings(self) -> Sequence[Binding]:
        """All of them, by user, then by age."""

    async def bind(self, binding: Binding, told: Entry) -> None:
        """NotFound when there is no such user, TooMany."""

    async def unbind(self, binding_id: str, told: Told[Binding], *, widen: bool = False) -> Binding:
        """The binding that was. NotFound; Widens, unless that is wanted."""
