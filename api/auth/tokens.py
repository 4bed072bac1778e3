"""``/tokens``: API keys, for programs. A key is shown when it is made, and never again.

Everybody sees and handles their own, an administrator all. A key makes no other keys unless it may do all that an
administrator may; it can put another secret in its own place.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from api.answers import refusals
from api.auth import log
from api.auth.bodies import ListMetadata, Username, example
from api.auth.credentials import LOCAL, PREFIX, digest
from api.bodies import refused
from api.deps import Asking, Door, DoorOf, Principal
from api.errors import Forbidden
from api.roles import Role, Scope, capped, ceiling
from api.verbs import Verb
from controller.ports.accounts import ApiKey, ScopeName
from controller.ports.store import NotFound

router = APIRouter(prefix="/tokens", tags=["tokens"])
Id = Annotated[str, Path(description="as `GET /tokens` lists it", examples=["4f2a91c07d3e"])]

_SCOPES: Mapping[Scope, ScopeName] = {Scope.READ: "read", Scope.WRITE: "write", Scope.ADMIN: "admin"}


_CI: JsonDict = {
    "id": "4f2a91c07d3e",
    "name": "ci",
    "user": "ada",
    "scopes": ["read"],
    "createdAt": "2026-01-05T12:00:00Z",
    "expiresAt": None,
    "lastUsedAt": None,
}


class NewToken(BaseModel):
    """``user``: whose it is, for administrators; the one who asks unless it is said."""

    model_config = example(name="ci", scopes=["read"], expiresAt="2027-01-01T00:00:00Z") | ConfigDict(populate_by_name=True)

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)]
    expires_at: Annotated[AwareDatetime | None, Field(alias="expiresAt")] = None
    user: Username | None = None


class TokenAnswer(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        json_schema_extra={"example": _CI},
    )

    id: str
    name: str
    user: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class TokenShown(TokenAnswer):
    """``token`` is shown this once."""

    model_config = ConfigDict(json_schema_extra={"example": {**_CI, "token": "ggk_4f2a91c07d3e_..."}})

    token: str


class TokenList(BaseModel):
    model_config = example(items=[_CI], metadata={"continue": None})

    items: list[TokenAnswer]
    metadata: ListMetadata


@router.get("", summary="List API keys: one's own, of an administrator all", responses=refusals())
async def list_tokens(door: DoorOf, who: Asking) -> TokenList:
    await door.identity.known.fresh()
    keys = await door.identity.store.keys()
    shown = [TokenAnswer(**_fields(door, key)) for key in keys if who.role is Role.ADMIN or _own(key, who)]
    return TokenList(items=shown, metadata=ListMetadata.model_validate({"continue": None}))


@router.post("", summary="Make an API key", status_code=201, responses=refusals(400, 403, 404, 409))
async def create(door: DoorOf, who: Asking, body: NewToken) -> TokenShown:
    owner = await _owner(door, who, body)
    now, secret = door.clock.now(), secrets.token_urlsafe(32)
    if body.expires_at is not None and body.expires_at <= now:
        raise refused("", "expiresAt", "has passed: take a time to come, or leave it out")
    scopes = tuple(_SCOPES[one] for one in Scope if one in body.scopes)
    key = ApiKey(secrets.token_hex(6), owner, body.name, digest(secret), scopes, now, body.expires_at)
    told = log.entry(door, who, "token-create", key.id)
    await door.identity.store.add_key(key, told)
    log.say(told)
    await door.identity.known.look()
    return TokenShown(token=f"{PREFIX}{key.id}_{secret}", **_fields(door, key))


@router.delete("/{id}", summary="Revoke an API key", status_code=204, responses=refusals(403, 404))
async def revoke(id: Id, door: DoorOf, who: Asking) -> None:
    key = await _handled(door, who, id)
    told = log.entry(door, who, "token-revoke", key.id)
    await door.identity.store.remove_key(key.id, told)
    log.say(told)
    await door.identity.known.look()


@router.post("/{id}/rotate", summary="Another secret for an API key; the old one ends now", responses=refusals(403, 404))
async def rotate(id: Id, door: DoorOf, who: Asking) -> TokenShown:
    key, secret = await _handled(door, who, id), secrets.token_urlsafe(32)
    told = log.entry(door, who, "token-rotate", key.id)
    rotated = await door.identity.store.rotate_key(key.id, digest(secret), told)
    log.say(told)
    await door.identity.known.look()
    return TokenShown(token=f"{PREFIX}{key.id}_{secret}", **_fields(door, rotated))


async def _owner(door: Door, who: Principal, body: NewToken) -> str | None:
    """The uid; None for the local administrator. Forbidden, NotFound, StoreError."""
    if who.key and who.role is not Role.ADMIN:
        raise Forbidden("An API key cannot make others: log in, or use one with the scope admin.")
    if body.user is not None and body.user != who.name:
        if who.role is not Role.ADMIN:
            raise Forbidden("Only an administrator makes API keys for others: leave out user.")
        user = await door.identity.store.user(body.user)
        if user is None:
            raise NotFound(f"There is no user {body.user}.")
        name, uid, role = user.name, user.uid, Role(user.role)
    else:
        name, uid, role = who.name, who.uid, who.role
    wanted = set(body.scopes)
    if capped(await _most(door, name, role), wanted) is not ceiling(wanted):
        raise Forbidden(f"A key is never more than its owner, who is {role}: take fewer scopes.")
    return uid or None


async def _most(door: Door, name: str, role: Role) -> Role:
    """Of what role a key's scopes may be. What somebody is bound to beyond reading takes the scope write to be done, and
    each request of the key is judged by the bindings of that moment."""
    await door.bound.fresh()
    bound = any(grant.verbs - {Verb.READ} for grant in door.bound.of(name))
    return Role.OPERATOR if bound and role is Role.VIEWER else role


async def _handled(door: Door, who: Principal, id: str) -> ApiKey:
    """NotFound also for another's: nobody learns what others have. Forbidden."""
    await door.identity.known.look()
    key = door.identity.known.key(id)
    if key is None or not (who.role is Role.ADMIN or _own(key, who)):
        raise NotFound(f"There is no token {ascii(id)[1:-1][:32]}: see GET /api/v1/tokens.")
    if who.key and who.key != key.id and who.role is not Role.ADMIN:
        raise Forbidden("An API key can handle no other: log in, or use one with the scope admin.")
    return key


def _own(key: ApiKey, who: Principal) -> bool:
    return key.owner == (who.uid or None)


def _fields(door: Door, key: ApiKey) -> dict[str, object]:
    owner = door.identity.known.users().get(key.owner) if key.owner else None
    return {
        "id": key.id,
        "name": key.name,
        "user": owner.name if owner else LOCAL,
        "scopes": list(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used,
    }
