"""What we ask of whoever keeps the accounts: people, and who may come in at this moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

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


class Accounts(Protocol):
    """Every method is one transaction. Any may raise StoreError."""

    async def directory(self, known: int | None = None) -> Directory | None:
        """None while the version that is known still stands."""

    async def user(self, name: str) -> User | None: ...

    async def users(self, after: str = "", limit: int = 500) -> Sequence[User]:
        """By name, from the one that follows ``after``."""

    async def add_user(self, user: User) -> bool:
        """False when the name is taken."""

    async def change_user(
        self,
        name: str,
        *,
        role: RoleName | None = None,
        disabled: bool | None = None,
        password: str | None = None,
        if_password: str | None = None,
    ) -> User:
        """What is None stays; with ``if_password`` only while that hash still stands. NotFound, Conflict."""

    async def remove_user(self, name: str) -> User:
        """With all that is theirs. NotFound."""

    async def logged_in(self, uid: str, at: datetime) -> None: ...


class ApiKeys(Protocol):
    """Every method is one transaction. Any may raise StoreError."""

    async def keys(self) -> Sequence[ApiKey]:
        """The oldest first."""

    async def add_key(self, key: ApiKey) -> None:
        """NotFound when its owner is gone."""

    async def rotate_key(self, id: str, digest: str) -> ApiKey:
        """The same key with another secret; the old one opens nothing from now on. NotFound."""

    async def remove_key(self, id: str) -> ApiKey:
        """NotFound."""

    async def key_used(self, id: str, at: datetime, apart: float) -> None:
        """Writes nothing when it was written less than ``apart`` seconds ago."""
