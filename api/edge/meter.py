"""Who may ask how often. A process takes requests from the common count in handfuls, so that it asks for one in a hundred.

A handful is a hundredth of the limit: what a process has taken and not used is lost at the end of the minute, never more.
Limits below two hundred are counted one by one.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import anyio
from starlette.types import Scope

from api import peer
from api.errors import TooMany
from controller.ports.clock import Clock
from controller.ports.rates import Quota, Rates
from controller.settings import Settings

_LOGIN = "/api/v1/auth/login"
FREE = frozenset({"/healthz", "/readyz"})
_KEPT = 20_000


@dataclass(slots=True)
class _Handful:
    mine: int
    left: int
    until: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one asker stands in one quota: requests left, whole seconds until all are."""

    quota: Quota
    left: int
    seconds: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """draft-ietf-httpapi-ratelimit-headers-06: the last in this form, which is the one that clients read."""
        return [
            (b"ratelimit-limit", b"%d" % self.quota.limit),
            (b"ratelimit-remaining", b"%d" % self.left),
            (b"ratelimit-reset", b"%d" % self.seconds),
        ]


class Meter:
    """Counts each request to who sent it: to an identity where its credential is known to be good, else to its address.

    ``whose`` tells that of a credential that comes for the first time. Asking with invented credentials so counts to the
    address; an identity is nobody's but its own. The token of the local administrator is never counted: it is what gets
    somebody in when everybody else keeps the server busy.
    """

    def __init__(
        self, rates: Rates, settings: Settings, clock: Clock, token: str, whose: Callable[[bytes], str | None]
    ) -> None:
        self._rates, self._clock, self._whose = rates, clock, whose
        self._identity = Quota("identity", settings.rate_limit)
        self._address = Quota("address", settings.rate_limit_address)
        self._login = Quota("login", settings.rate_limit_login)
        self._token = f"Bearer {token}".encode()
        self._known: dict[int, str] = {}
        self._handfuls: dict[tuple[str, str], _Handful] = {}
        self._asking: dict[tuple[str, str], anyio.Lock] = {}

    async def charge(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Standing | None:
        """One request; None where it is not counted. TooMany."""
        given = headers.get(b"authorization", b"")
        if scope["path"] in FREE or hmac.compare_digest(given, self._token):
            return None
        who = (self._known.get(hash(given)) or self._whose(given)) if given else None
        if who is not None:
            return await self._take(self._identity, who)
        at = peer.network(scope["address"])
        if scope["path"] == _LOGIN and scope["method"] == "POST":
            await self._take(self._login, at)
        return await self._take(self._address, at)

    def purse(self, given: bytes, name: str) -> "Purse | None":
        """Of whom this credential stood for the last time, and still does; None: ``charge`` must find out."""
        if hmac.compare_digest(given, self._token):
            return Purse(None, name, self._handfuls)
        if self._known.get(hash(given)) != name:
            return None
        return Purse(self._identity if self._identity.limit else None, name, self._handfuls)

    def settle(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """What became of the credential: whose it was, or that it is nobody's any more."""
        given = headers.get(b"authorization", b"")
        if not given:
            return
        principal = scope.get("principal")
        if principal is None:
            self._known.pop(hash(given), None)
        else:
            _bounded(self._known)
            self._known[hash(given)] = principal.name

    async def _take(self, quota: Quota, who: str) -> Standing | None:
        if not quota.limit:
            return None
        have = self._at_hand(quota, who) or await self._asked(quota, who)
        now = self._clock.now().timestamp()
        if not have.mine:
            raise TooMany(quota, _seconds(quota, have, now))
        return _spent(quota, have, now)

    def _at_hand(self, quota: Quota, who: str) -> _Handful | None:
        """What there is, be it that there is nothing left; None: the common count must be asked."""
        have = self._handfuls.get((quota.name, who))
        if have is None or have.until <= self._clock.now().timestamp():
            return None
        return have if have.mine or not have.left else None

    async def _asked(self, quota: Quota, who: str) -> _Handful:
        """One request asks for all that came with it: a hundred that asked at once would have the whole limit among them,
        and lose it."""
        at = (quota.name, who)
        turn = self._asking.setdefault(at, anyio.Lock())
        try:
            async with turn:
                have = self._at_hand(quota, who)
                if have is None:
                    granted = await self._rates.take(quota, who, max(1, quota.limit // 100))
                    _bounded(self._handfuls)
                    have = self._handfuls[at] = _Handful(granted.amount, granted.left, granted.until)
                return have
        finally:
            if not turn.locked():
                self._asking.pop(at, None)


class Purse:
    """What a process has at hand for one asker, for requests that are answered without waiting."""

    __slots__ = ("_handfuls", "_quota", "_who")

    def __init__(self, quota: Quota | None, who: str, handfuls: Mapping[tuple[str, str], _Handful]) -> None:
        self._quota, self._who, self._handfuls = quota, who, handfuls

    def spend(self, now: float) -> list[tuple[bytes, bytes]] | None:
        """One request, and what its client is told of that; None: nothing was counted, ``charge`` must ask for more.
        ``now`` in seconds since 1970."""
        quota = self._quota
        if quota is None:
            return []
        have = self._handfuls.get((quota.name, self._who))
        if have is None or have.until <= now or not have.mine:
            return None
        return _spent(quota, have, now).headers()


def _spent(quota: Quota, have: _Handful, now: float) -> Standing:
    have.mine -= 1
    return Standing(quota, have.mine + have.left, _seconds(quota, have, now))


def _seconds(quota: Quota, have: _Handful, now: float) -> int:
    return min(max(1, ceil(have.until - now)), quota.seconds)


def _bounded(kept: dict[Any, Any]) -> None:
    if len(kept) >= _KEPT:
        for key in list(kept)[: _KEPT // 2]:
            del kept[key]
