"""Logging in, staying so, and out: what the routes of ``/auth`` do.

A wrong password, an unknown user, a disabled and a locked account are one answer after one amount of work. Only a locked
*address* is told so, with the time to wait: that depends on nothing but what came from it.
"""

import math
import secrets
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

import structlog

from api import peer
from api.auth import log, names
from api.auth.credentials import digest
from api.deps import Door, Principal
from api.errors import Forbidden, Unauthorised, Unavailable
from api.token import TokenError
from controller.ports.accounts import Ending, User
from controller.ports.audit import Entry
from controller.ports.logins import Family, Reused, Use
from controller.ports.store import Conflict

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
    told = log.entry(door, who, "login", name=user.name)
    try:
        await store.open_family(family, digest(refresh), now, _expires(door), password=user.password, told=told)
    except Conflict:
        await log.failed(door, "login", user.name, who, "refused")
        raise Unauthorised(_WRONG) from None
    log.say(told)
    return _pair(door, user.name, family, refresh)


async def refresh(door: Door, token: str, who: Principal) -> Pair:
    """Each refresh token works once; the second time its family is over for good. Unauthorised, Unavailable, StoreError."""
    ours, successor, now = door.identity, _refresh_token(), door.clock.now()
    await ours.known.fresh()

    def told(use: Use) -> Entry:
        entry = log.entry(door, who, "refresh", name=_name(door, use.family.owner))
        may = ours.known.user(use.family.owner) is not None
        return replace(entry, outcome="reused" if use.again else "ok" if may else "refused")

    try:
        family = await ours.store.rotate(digest(token), digest(successor), now, _expires(door), until=_over(door), told=told)
    except Reused as reused:
        log.say(told(Use(reused.family, again=True)))
        await revoke(door, reused.family.id)
        raise Unauthorised(_OVER) from None
    if family is None:
        await log.failed(door, "refresh", "", who, "refused")
        raise Unauthorised(_OVER)
    log.say(told(Use(family, again=False)))
    user = ours.known.user(family.owner)
    if user is None:
        raise Unauthorised(_OVER)
    return _pair(door, user.name, family, successor)


async def logout(door: Door, who: Principal) -> None:
    """Forbidden, StoreError."""
    if not who.family:
        raise Forbidden("Only a login can be logged out of: DELETE /api/v1/tokens/ID revokes an API key.")
    told = log.entry(door, who, "logout")
    await door.identity.store.close_family(who.family, door.clock.now(), _over(door), told)
    log.say(told)
    await revoke(door, who.family)


def ending(door: Door, keep: str | None = None) -> Ending:
    """All of a user's logins but one end, with the access tokens that came of them."""
    return Ending(door.clock.now(), _over(door), keep)


async def revoke(door: Door, *families: str) -> None:
    """The store has revoked them: so that it holds here at once, on other replicas within a second. StoreError."""
    if families:
        await door.identity.revocations.revoke(families, door.clock.now(), _over(door))
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
    await log.failed(door, action, names.shown(name), who, "locked" if locked else "refused")
    raise Unauthorised(_WRONG)


async def _admit(door: Door, action: str, name: str, origin: str, who: Principal) -> None:
    now = door.clock.now()
    until = (await door.identity.store.locked([origin], now)).get(origin)
    if until is not None:
        await log.failed(door, action, names.shown(name), who, "locked")
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


def _over(door: Door) -> datetime:
    """When the last access token that is given out now opens nothing any more."""
    return door.clock.now() + door.identity.access.life + timedelta(minutes=1)
