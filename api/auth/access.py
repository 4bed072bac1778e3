"""Access tokens: JWT, signed with one pinned algorithm (RFC 7519, RFC 8725).

The header says which key, and nothing else that is believed. What a token allows is not in it: role and standing are
looked up, so that a change of them needs no new token.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt

from api.auth.keys import Keyring

ALGORITHM = "HS256"
AUDIENCE = "ggnet-api"
_TYPE = "at+jwt"  # RFC 9068: no other kind of token passes for this one
_CLAIMS = ("iss", "aud", "exp", "nbf", "iat", "jti", "sub", "uid", "fam")
_LEEWAY = timedelta(seconds=5)  # two replicas' clocks
_LONGEST = 2048


class Refused(Exception):
    """It is no access token of ours, or no longer one."""


@dataclass(frozen=True, slots=True)
class Access:
    """A verified token: its id, whose, of which login; it opens nothing from ``expires`` (seconds since 1970) on."""

    id: str
    uid: str
    family: str
    expires: float


class AccessTokens:
    def __init__(self, keyring: Keyring, issuer: str, life: timedelta) -> None:
        self._keyring = keyring
        self._issuer = issuer
        self.life = life

    def issue(self, name: str, uid: str, family: str, now: datetime) -> str:
        """TokenError."""
        key = self._keyring.signing()
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "exp": now + self.life,
            "nbf": now,
            "iat": now,
            "jti": str(uuid.uuid4()),
            "sub": name,
            "uid": uid,
            "fam": family,
        }
        return jwt.encode(claims, key.secret, ALGORITHM, headers={"kid": key.id, "typ": _TYPE})

    def verify(self, token: str, now: datetime) -> Access:
        """Refused, TokenError."""
        if len(token) > _LONGEST:
            raise Refused
        try:
            header = jwt.get_unverified_header(token)
            if header.keys() != {"alg", "typ", "kid"} or header["alg"] != ALGORITHM or header["typ"] != _TYPE:
                raise Refused
            key = self._keyring.verifying(str(header["kid"]), now)
            if key is None:
                raise Refused
            options: Any = {"require": list(_CLAIMS)}
            claims = jwt.decode(
                token, key.secret, [ALGORITHM], options, audience=AUDIENCE, issuer=self._issuer, leeway=_LEEWAY
            )
            expires = float(claims["exp"]) + _LEEWAY.total_seconds()
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise Refused from error
        if not all(isinstance(claims[name], str) for name in ("jti", "uid", "fam")):
            raise Refused
        return Access(claims["jti"], claims["uid"], claims["fam"], expires)
