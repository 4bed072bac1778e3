"""``/users``: for administrators."""

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from api.answers import refusals
from api.auth import accounts, log, login, names, personal
from api.auth.bodies import ADA, ListMetadata, NewUser, UserAnswer, UserChange, accepted, example
from api.deps import Administrator, Door, DoorOf
from api.errors import Malformed
from controller.ports.accounts import User
from controller.ports.store import NotFound

router = APIRouter(prefix="/users", tags=["users"])
Erase = Annotated[bool, Query(description="forget name and addresses in the audit log too, for good")]
Named = Annotated[str, Path(description="the user's name", examples=["ada"])]


class UserList(BaseModel):
    model_config = example(items=[ADA], metadata={"continue": None})

    items: list[UserAnswer]
    metadata: ListMetadata


@router.get("", summary="List users, by name", responses=refusals(400, 403))
async def list_users(
    door: DoorOf,
    who: Administrator,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 500,
    after: Annotated[str, Query(alias="continue", max_length=256)] = "",
) -> UserList:
    found = await door.identity.store.users(_name(after), limit + 1)
    items = found[:limit]
    locked = await door.identity.store.locked([login.account(one.name) for one in items], door.clock.now())
    more = base64.urlsafe_b64encode(items[-1].name.encode()).decode() if len(found) > limit else None
    answers = [UserAnswer.of(one, locked.get(login.account(one.name))) for one in items]
    return UserList(items=answers, metadata=ListMetadata.model_validate({"continue": more}))


@router.post("", summary="Make an account", status_code=201, responses=refusals(400, 403, 409))
async def create(door: DoorOf, who: Administrator, body: NewUser) -> UserAnswer:
    told = log.entry(door, who, "user-create", body.username, after={"role": body.role.value})
    return UserAnswer.of(await accounts.create(door, body.username, accepted(body.password, body.username), body.role, told))


@router.get("/{name}", summary="Read one account", responses=refusals(403, 404))
async def read(name: Named, door: DoorOf, who: Administrator) -> UserAnswer:
    return await _shown(door, await _found(door, name))


@router.patch("/{name}", summary="Change role or password, shut out, unlock", responses=refusals(400, 403, 404))
async def change(name: Named, door: DoorOf, who: Administrator, body: UserChange) -> UserAnswer:
    await _found(door, name)
    return await _shown(door, await accounts.change(door, name, body, who))


@router.delete(
    "/{name}", summary="Delete an account, with its logins and keys", status_code=204, responses=refusals(403, 404)
)
async def delete(name: Named, door: DoorOf, who: Administrator, erase: Erase = False) -> None:
    """With ``erase`` nobody can tell any more who stands behind what they did; that can be asked for afterwards too."""
    late = erase and names.possible(name) and name not in names.RESERVED and await door.identity.store.user(name) is None
    if not late:
        await _found(door, name)
        await accounts.remove(door, name, who)
    if erase and not any((await door.store.erase(name, who.actor, door.clock.now())).values()) and late:
        raise NotFound(f"Nothing is kept about {name}.")


@router.get("/{name}/export", summary="All that is kept about one person", responses=refusals(403, 404))
async def export(name: Named, door: DoorOf, who: Administrator) -> personal.Export:
    """Also of an account that is deleted already, for as long as the audit log remembers."""
    return await personal.export(door, name)


async def _found(door: Door, name: str) -> User:
    user = await door.identity.store.user(name) if names.possible(name) else None
    if user is None:
        raise NotFound(f"There is no user {ascii(name)[1:-1][:63]}.")
    return user


async def _shown(door: Door, user: User) -> UserAnswer:
    subject = login.account(user.name)
    locked = await door.identity.store.locked([subject], door.clock.now())
    return UserAnswer.of(user, locked.get(subject))


def _name(token: str) -> str:
    try:
        name = base64.urlsafe_b64decode(token.encode()).decode()
        if token and not names.possible(name):
            raise ValueError(name)
    except (binascii.Error, ValueError):
        raise Malformed("continue takes the metadata.continue of the page before, unchanged.") from None
    return name
