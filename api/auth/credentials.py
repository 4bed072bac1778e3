"""A bearer token, and who stands behind it: an access token, or an API key.

Verified once, a token is known by its digest until it expires; what may change meanwhile is looked up each time, in memory.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import structlog

from api.auth.access import Access, AccessTokens, Refused
from api.auth.known import Known
from api.roles import SCOPES, Role, Scope, capped, ceiling
from api.token import TokenError
from controller.ports.accounts import ApiKey

PREFIX = "ggk_"
LOCAL = "admin"
"""The name under which the local administrator, who has no account, acts."""
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who it is. ``key`` is the API key's id, ``jti`` and ``family`` are the login's; the others are empty."""

    name: str
    uid: str
    role: Role
    scopes: frozenset[Scope] = SCOPES
    key: str = ""
    jti: str = ""
    family: str = ""


def digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Credentials:
    def __init__(self, access: AccessTokens, known: Known, now: Callable[[], datetime]) -> None:
        self._access = access
        self._known = known
        self._now = now
        self._verified: dict[str, Access] = {}
        self._epoch = -1

    async def bearer(self, token: str) -> Bearer:
        """Refused, StoreError."""
        await self._known.fresh()
        return self.recognised(token)

    def recognised(self, token: str) -> Bearer:
        """As of the last look at what is known. Refused."""
        now = self._now()
        return self._by_key(token, now) if token.startswith(PREFIX) else self._by_login(token, now)

    def _by_login(self, token: str, now: datetime) -> Bearer:
        found = self._remembered(token, now)
        user = self._known.user(found.uid)
        if user is None or found.expires <= now.timestamp() or self._known.revoked(found.id, found.family):
            raise Refused
        return Bearer(user.name, found.uid, Role(user.role), jti=found.id, family=found.family)

    def _remembered(self, token: str, now: datetime) -> Access:
        if self._epoch != self._known.epoch:  # a signing key may be gone
            self._verified.clear()
            self._epoch = self._known.epoch
        name = digest(token)
        found = self._verified.get(name)
        if found is None:
            try:
                found = self._access.verify(token, now)
            except TokenError as error:
                structlog.get_logger("api.auth").error("signing keys not read", error=str(error))
                raise Refused from error
            if len(self._verified) >= _MOST:
                del self._verified[next(iter(self._verified))]
            self._verified[name] = found
        return found

    def _by_key(self, token: str, now: datetime) -> Bearer:
        id, _, secret = token.removeprefix(PREFIX).partition("_")
        key = self._known.key(id)
        if not hmac.compare_digest(digest(secret), key.digest if key else "") or key is None:
            raise Refused
        if key.expires_at is not None and key.expires_at <= now:
            raise Refused
        return self._of(key)

    def _of(self, key: ApiKey) -> Bearer:
        scopes = frozenset(Scope(one) for one in key.scopes)
        if key.owner is None:
            return Bearer(LOCAL, "", ceiling(scopes), scopes, key=key.id)
        user = self._known.user(key.owner)
        if user is None:
            raise Refused
        return Bearer(user.name, key.owner, capped(Role(user.role), scopes), scopes, key=key.id)
