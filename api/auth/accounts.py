"""Accounts as administrators handle them."""

import uuid

from api.auth import log, login, names
from api.auth.bodies import UserChange, accepted
from api.bodies import refused
from api.deps import Door, Principal
from api.errors import Exists
from api.roles import Role
from controller.ports.accounts import User
from controller.ports.audit import Entry


async def create(door: Door, name: str, password: str, role: Role, told: Entry) -> User:
    """Invalid, Exists, StoreError."""
    if name in names.RESERVED:
        raise refused("", "username", "is kept for the server's own use: choose another name")
    hashed = await door.identity.hashes.make(password)
    user = User(name, str(uuid.uuid4()), role.value, hashed, door.clock.now())
    if not await door.identity.store.add_user(user, told):
        raise Exists(f"There is a user {name} already: choose another name, or change that one.")
    log.say(told)
    await door.identity.known.look()
    return user


async def change(door: Door, name: str, wanted: UserChange, who: Principal) -> User:
    """The user as it is now. Invalid, NotFound, StoreError."""
    fields, after = wanted.model_fields_set, wanted.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    password = accepted(wanted.password, name) if "password" in fields else None
    shut = "disabled" in fields and wanted.disabled

    def told(was: User) -> Entry:
        before = {field: getattr(was, field) for field in after if field in ("role", "disabled")}
        return log.entry(door, who, "user-change", was.name, before=before, after=after)

    user, ended = await door.identity.store.change_user(
        name,
        role=wanted.role.value if "role" in fields else None,
        disabled=wanted.disabled if "disabled" in fields else None,
        password=None if password is None else await door.identity.hashes.make(password),
        ends=login.ending(door) if password is not None or shut else None,
        forgiven=login.account(name) if "locked" in fields or password is not None else None,
        told=told,
    )
    log.say(told(user))
    await login.revoke(door, *ended)
    return user


async def remove(door: Door, name: str, who: Principal) -> User:
    """NotFound, StoreError."""
    told = log.entry(door, who, "user-delete", name)
    user = await door.identity.store.remove_user(name, login.account(name), told)
    log.say(told)
    await door.identity.known.look()
    await door.bound.look()
    return user
