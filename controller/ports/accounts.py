"""What we ask of whoever keeps the accounts: people, and who may come in at this moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from controller.ports.audit import Entry, Told

RoleName = Literal["VIEWER", "OPERATOR", "ADMIN"]
ScopeName = Literal["read", "write", "admin"]


@dataclass(frozen=True, slots=True)
class User:
    """``uid`` tells a person from a later one of the same name; ``password`` is a bcrypt hash. Times are UTC."""

    name: str
    uid: str
    role: RoleName
    password: str = field(repr=False)
    created_at: datetime
    disabled: bool = False
    last_login: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """``digest`` is the SHA-256 of the secret in hex; ``owner`` a user's uid, None for the local administrator."""

    id: str
    owner: str | None
    name: str
    digest: str = field(repr=False)
    scopes: tuple[ScopeName, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used: datetime | None = None


class TooManyKeys(Exception):
    """There are as many API keys as one owner may have: revoke one that is not used."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What every request needs to know of a user."""

    name: str
    role: RoleName
    disabled: bool


@dataclass(frozen=True, slots=True)
class Directory:
    """Who may come in: users by uid, API keys by id. ``version`` rises with every change of it."""

    version: int
    users: Mapping[str, Standing]
    keys: Mapping[str, ApiKey]


@dataclass(frozen=True, slots=True)
class Ending:
    """All logins of a user end but ``keep``; their access tokens would have opened the door ``until`` then."""

    now: datetime
    until: datetime
    keep: str | None = None


class Accounts(Protocol):
    """Every method is one transaction, the audit row ``told`` with it: there is never the one without the other. Any may
    raise StoreError."""

    async def directory(self, known: int | None = None) -> Directory | None:
        """None while the version that is known still stands."""

    async def user(self, name: str) -> User | None: ...

    async def users(self, after: str = "", limit: int = 500) -> Sequence[User]:
        """By name, from the one that follows ``after``."""

    async def add_user(self, user: User, told: Entry) -> bool:
        """False when the name is taken."""

    async def change_user(
        self,
        name: str,
        *,
        role: RoleName | None = None,
        disabled: bool | None = None,
        password: str | None = None,
        if_password: str | None = None,
        ends: Ending | None = None,
        forgiven: str | None = None,
        told: Told[User],
    ) -> tuple[User, Sequence[str]]:
        """What is None stays; with ``if_password`` only while that hash still stands. NotFound, Conflict.

        The user, and the logins that ended with it. ``forgiven`` is the subject whose failures are forgotten; ``told`` is
        given the user that was.
        """

    async def remove_user(self, name: str, forgiven: str, told: Entry) -> User:
        """With all that is theirs. NotFound."""


class ApiKeys(Protocol):
    """Every method is one transaction, the audit row ``told`` with it. Any may raise StoreError."""

    async def keys(self) -> Sequence[ApiKey]:
        """The oldest first."""

    async def add_key(self, key: ApiKey, told: Entry) -> None:
        """NotFound when its owner is gone, TooManyKeys."""

    async def rotate_key(self, id: str, digest: str, told: Entry) -> ApiKey:
        """The same key with another secret; the old one opens nothing from now on. NotFound."""

    async def remove_key(self, id: str, told: Entry) -> ApiKey:
        """NotFound."""

    async def key_used(self, id: str, at: datetime, apart: float) -> None:
        """Writes nothing when it was written less than ``apart`` seconds ago."""
