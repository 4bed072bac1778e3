"""What people and keys may be: roles, each of which includes the ones before, and the scopes that narrow a key."""

from collections.abc import Set
from enum import StrEnum


class Role(StrEnum):
    VIEWER = "VIEWER"
    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"


class Scope(StrEnum):
    """Each includes the ones before, too."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


SCOPES: frozenset[Scope] = frozenset(Scope)
_ROLES, _SCOPES = tuple(Role), tuple(Scope)


def ceiling(scopes: Set[Scope]) -> Role:
    """The most that a key of these scopes can be. There is at least one."""
    return _ROLES[max(_SCOPES.index(scope) for scope in scopes)]


def capped(role: Role, scopes: Set[Scope]) -> Role:
    """A key is never more than its owner, nor than its scopes."""
    return min(role, ceiling(scopes), key=_ROLES.index)
