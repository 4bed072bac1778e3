"""Logging in, staying so, and out: what the routes of ``/auth`` do.

A wrong password, an unknown user, a disabled and a locked account are one answer after one amount of work. Only a locked
*address* is told so, with the time to wait: that depends on nothing but what came from it.
"""

import math
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import structlog

from api import peer
from api.auth import names
from api.auth.credentials import digest
from api.auth.log import note
from api.deps import Door, Principal
from api.problems import Forbidden, Unauthorised, Unavailable
from api.token import TokenError
from controller.ports.accounts import User
from controller.ports.logins import Family, Reused

_WRONG = (
    "User name or password is wrong, or the account is not open now: after several failures it is closed for some minutes. "
    "An administrator can open it (ggnet user unlock NAME)."
)
_OVER = "The refresh token is unknown, expired, used or revoked: log in again."


@dataclass(frozen=True, slots=True)
class Pair:
    """What a login gives. ``expires_in``: seconds that ``access`` is good for."""

    access: str
    refresh: str
    expires_in: int


def account(name: str) -> str:
    """The subject of a lock. Hashed: people type their password where the name goes."""
    return f"account:{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


def place(address: str) -> str:
    return f"address:{peer.network(address)}"


async def login(door: Door, name: str, password: str, who: Principal) -> Pair:
    """Unauthorised, Unavailable, StoreError."""
    user = await verified(door, "login", name.lower(), password, who)
    store, now = door.identity.store, door.clock.now()
    family, refresh = Family(str(uuid.uuid4()), user.uid), _refresh_token()
    await store.open_family(family, digest(refresh), now, _expires(door))
    await store.logged_in(user.uid, now)
    await note(door, "login", user.name, who.address, who.request_id, "allowed")
    return _pair(door, user.name, family, refresh)


async def refresh(door: Door, token: str, who: Principal) -> Pair:
    """Each refresh token works once; the second time its family is over for good. Unauthorised, Unavailable, StoreError."""
    ours, successor = door.identity, _refresh_token()
    try:
        family = await ours.store.rotate(digest(token), digest(successor), door.clock.now(), _expires(door))
    except Reused as reused:
        await revoke(door, reused.family.id)
        await note(door, "refresh", _name(door, reused.family.owner), who.address, who.request_id, "reused")
        raise Unauthorised(_OVER) from None
    await ours.known.fresh()
    user = ours.known.user(family.owner) if family else None
    if family is None or user is None:
        await note(door, "refresh", "", who.address, who.request_id, "refused")
        raise Unauthorised(_OVER)
    await note(door, "refresh", user.name, who.address, who.request_id, "allowed")
    return _pair(door, user.name, family, successor)


async def logout(door: Door, who: Principal) -> None:
    """Forbidden, StoreError."""
    if not who.family:
        raise Forbidden("Only a login can be logged out of: DELETE /api/v1/tokens/ID revokes an API key.")
    await door.identity.store.close_family(who.family)
    await revoke(door, who.family, who.jti)
    await note(door, "logout", who.name, who.address, who.request_id, "allowed")


async def end_logins(door: Door, uid: str, keep: str | None = None) -> None:
    """All of a user's logins but one, with the access tokens that came of them. StoreError."""
    await revoke(door, *await door.identity.store.close_families(uid, keep))


async def revoke(door: Door, *ids: str) -> None:
    """Here at once, on other replicas within a second. StoreError."""
    now = door.clock.now()
    if ids:
        await door.identity.revocations.revoke(ids, now, now + door.identity.access.life + timedelta(minutes=1))
    await door.identity.known.look()


async def verified(door: Door, action: str, name: str, password: str, who: Principal) -> User:
    """The user whose password this is. Unauthorised, StoreError.

    What is counted is looked at where the work begins, so that guesses sent all at once are not all tried: no more than
    are worked on at one time come on top of the limit.
    """
    store, hashes = door.identity.store, door.identity.hashes
    subject, origin = account(name), place(who.address)
    await _admit(door, action, name, origin, who)
    async with hashes.limiter:
        await _admit(door, action, name, origin, who)
        locked = await store.locked([subject], door.clock.now())
        user = await store.user(name) if names.possible(name) else None
        right = await hashes.matches(password, user.password if user else None)
        if right and user is not None and not user.disabled and not locked:
            await store.forgive(subject)
            return user
        settings = door.settings
        failed = [origin] if locked else [origin, subject]
        await store.failed(failed, door.clock.now(), settings.lockout_failures, settings.lockout_minutes * 60)
    await note(door, action, names.shown(name), who.address, who.request_id, "locked" if locked else "refused")
    raise Unauthorised(_WRONG)


async def _admit(door: Door, action: str, name: str, origin: str, who: Principal) -> None:
    now = door.clock.now()
    until = (await door.identity.store.locked([origin], now)).get(origin)
    if until is not None:
        await note(door, action, names.shown(name), who.address, who.request_id, "locked")
        seconds = max(1, math.ceil((until - now).total_seconds()))
        raise Unauthorised(f"Too many failed logins came from your address: wait {seconds} seconds.", seconds)


def _pair(door: Door, name: str, family: Family, refresh: str) -> Pair:
    access = door.identity.access
    try:
        token = access.issue(name, family.owner, family.id, door.clock.now())
    except TokenError as error:
        structlog.get_logger("api.auth").error("signing keys not read", error=str(error))
        raise Unavailable("The server cannot sign tokens now. Its log says why.") from error
    return Pair(token, refresh, int(access.life.total_seconds()))


def _name(door: Door, uid: str) -> str:
    found = door.identity.known.users().get(uid)
    return found.name if found else ""


def _refresh_token() -> str:
    return f"ggr_{secrets.token_urlsafe(32)}"


def _expires(door: Door) -> datetime:
    return door.clock.now() + timedelta(days=door.settings.refresh_days)
