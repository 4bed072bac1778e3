"""What can be done here, and which role does what: the legend of the table of routes (``api.access``)."""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache

from api.roles import Role, Scope


class Verb(StrEnum):
    # with an object: may be bound to what a label selector selects
    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    START = "start"
    STOP = "stop"
    SUSPEND = "suspend"
    FORCE = "force"
    # with the site as a whole: a role has it or not
    SURVEY = "survey"
    APPROVE = "approve"
    UPLOAD = "upload"
    ADMINISTER = "administer"
    # with oneself
    SELF = "self"
    ANYONE = "anyone"


class Answer(StrEnum):
    ALLOWED = "allowed"
    BOUND = "within bindings"
    DENIED = "denied"


BINDABLE = frozenset({Verb.READ, Verb.WRITE, Verb.DELETE, Verb.START, Verb.STOP, Verb.SUSPEND, Verb.FORCE})
PERSONAL = frozenset({Verb.ANYONE, Verb.SELF})
_VIEWS = PERSONAL | {Verb.READ, Verb.SURVEY}
_OPERATES = _VIEWS | BINDABLE | {Verb.APPROVE, Verb.UPLOAD}
_ALL = frozenset(Verb)

HOLDS: Mapping[Role, frozenset[Verb]] = {Role.VIEWER: _VIEWS, Role.OPERATOR: _OPERATES, Role.ADMIN: _ALL}
COVERS: Mapping[Scope, frozenset[Verb]] = {Scope.READ: _VIEWS, Scope.WRITE: _OPERATES, Scope.ADMIN: _ALL}

_IMPLIED: Mapping[Verb, frozenset[Verb]] = {Verb.WRITE: frozenset({Verb.START, Verb.STOP})}


def answer(verb: Verb, role: Role) -> Answer:
    """What a role says to a route of this verb."""
    if verb in HOLDS[role]:
        return Answer.ALLOWED
    return Answer.BOUND if verb in BINDABLE else Answer.DENIED


def implied(verb: Verb) -> frozenset[Verb]:
    """What a binding of it gives: whoever may change an object sees it, and its state is part of its spec."""
    return frozenset({verb, Verb.READ}) | _IMPLIED.get(verb, frozenset())


@cache
def covered(scopes: frozenset[Scope]) -> frozenset[Verb]:
    """What the scopes of an API key let through; a person has them all."""
    return frozenset[Verb]().union(*(COVERS[scope] for scope in scopes))
