"""What we ask of whoever keeps the logins: refresh tokens in families, failures, and what was revoked."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from controller.ports.accounts import Accounts, ApiKeys
from controller.ports.audit import Entry, Told


@dataclass(frozen=True, slots=True)
class Family:
    """All refresh tokens that came of one login; ``owner`` is a user's uid."""

    id: str
    owner: str


class Reused(Exception):
    """A refresh token came a second time: somebody else has it, and its family is closed."""

    def __init__(self, family: Family) -> None:
        super().__init__("This refresh token has been used before: everything that came of that login is revoked.")
        self.family = family


@dataclass(frozen=True, slots=True)
class Use:
    """What became of a refresh token: its one use, or another one, which closes the family."""

    family: Family
    again: bool


class Logins(Protocol):
    """Refresh tokens are known by their SHA-256 in hex. Every method is one transaction, the audit row ``told`` with it.
    Any may raise StoreError."""

    async def open_family(
        self, family: Family, digest: str, now: datetime, expires: datetime, *, password: str, told: Entry
    ) -> None:
        """Its owner has logged in. Conflict when they are gone, shut out, or ``password`` is no longer their hash."""

    async def rotate(
        self, digest: str, successor: str, now: datetime, expires: datetime, *, until: datetime, told: Told[Use]
    ) -> Family | None:
        """The one use of a refresh token: ``successor`` takes its place. None when it is unknown, expired, or its family
        closed; Reused when it has been used, with the family closed by this call, and revoked ``until`` then."""

    async def close_family(self, id: str, now: datetime, until: datetime, told: Entry) -> None:
        """Its access tokens are revoked with it, ``until`` they would have expired."""


class Lockouts(Protocol):
    """Counts failures by subject (an account, an address). Every method is one transaction. Any may raise StoreError."""

    async def locked(self, subjects: Collection[str], now: datetime) -> Mapping[str, datetime]:
        """Those that are locked, and until when."""

    async def failed(self, subjects: Collection[str], now: datetime, most: int, seconds: float) -> None:
        """One failure more for each; with ``most`` of them, none older than ``seconds``, it is locked for ``seconds``."""

    async def forgive(self, subject: str) -> None:
        """Its failures are forgotten, and its lock is off."""


class Revocations(Protocol):
    """Ids (of an access token, of a family) that open nothing any more. Any method may raise StoreError."""

    async def revoke(self, ids: Collection[str], now: datetime, until: datetime) -> None:
        """``until`` is when they would have expired by themselves."""

    async def revoked(self, now: datetime) -> Mapping[str, datetime]:
        """Those that have not expired, with that time."""


class IdentityStore(Accounts, ApiKeys, Logins, Lockouts, Revocations, Protocol):
    """All of it, as one database answers it."""
