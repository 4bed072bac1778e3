"""Accounts as administrators handle them."""

import uuid
from collections.abc import Sequence

from api.auth import login
from api.auth.bodies import UserChange, accepted
from api.deps import Door
from api.problems import Exists
from api.roles import Role
from controller.ports.accounts import User


async def create(door: Door, name: str, password: str, role: Role) -> User:
    """Exists, StoreError."""
    hashed = await door.identity.hashes.make(password)
    user = User(name, str(uuid.uuid4()), role.value, hashed, door.clock.now())
    if not await door.identity.store.add_user(user):
        raise Exists(f"There is a user {name} already: choose another name, or change that one.")
    await door.identity.known.look()
    return user


async def change(door: Door, name: str, wanted: UserChange) -> tuple[User, Sequence[str]]:
    """The user as it is now, and what was changed. Invalid, NotFound, StoreError."""
    fields = wanted.model_fields_set
    password = accepted(wanted.password, name) if "password" in fields else None
    user = await door.identity.store.change_user(
        name,
        role=wanted.role.value if "role" in fields else None,
        disabled=wanted.disabled if "disabled" in fields else None,
        password=None if password is None else await door.identity.hashes.make(password),
    )
    if "locked" in fields or password is not None:
        await door.identity.store.forgive(login.account(name))
    if password is not None or user.disabled:
        await login.end_logins(door, user.uid)
    await door.identity.known.look()
    return user, sorted(fields)
