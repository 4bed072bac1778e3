"""What a route needs to answer, and who is asking."""

import hmac
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import HTTPBearer, OAuth2PasswordBearer
from starlette.requests import HTTPConnection

from api.auth.access import Refused
from api.auth.credentials import LOCAL, Bearer
from api.auth.identity import Identity
from api.bound import Bound
from api.errors import Forbidden, Unauthorised
from api.live.crowd import Crowd
from api.live.feed import Feed
from api.live.liveness import Liveness
from api.live.mirror import Mirror
from api.live.phases import Phases
from api.live.reads import Reads
from api.metrics import Metrics
from api.roles import SCOPES, Scope
from api.roles import Role as Role
from controller.core.floods import Flood
from controller.ports.audit import Actor, Outcome
from controller.ports.clock import Clock
from controller.ports.database import Database
from controller.ports.hints import Hints
from controller.ports.notices import Outbox
from controller.ports.rates import Rates
from controller.ports.store import StoreError
from controller.ports.uploads import Uploads
from controller.settings import Settings

_LOGIN = "/api/v1/auth/login"
OPEN = frozenset({"/healthz", "/readyz", _LOGIN, "/api/v1/auth/refresh", "/api/v1/auth/register"})
_SUBPROTOCOL = "bearer."
_LOCALLY = Bearer(LOCAL, "", Role.ADMIN)


class _Bearer(HTTPBearer):
    """For the OpenAPI document, which so says how to come in. Who comes in is ``identify``'s to tell."""

    async def __call__(self, request: HTTPConnection) -> None:
        return None


class _Password(OAuth2PasswordBearer):
    """For the manual: it names where one logs in."""

    async def __call__(self, request: HTTPConnection) -> None:
        return None


_bearer = _Bearer(
    scheme_name="HTTPBearer",
    auto_error=False,
    description="An access token, an API key, or `admin.token` of the state folder",
)
_password = _Password(
    _LOGIN, scheme_name="OAuth2PasswordBearer", auto_error=False, refreshUrl=None, description="With user name and password"
)


_SIGN_IN = (
    "Send 'Authorization: Bearer TOKEN' with an access token (POST /api/v1/auth/login), an API key, or on the server "
    "what admin.token holds (GGNET_STATE_DIR)."
)


@dataclass(frozen=True, slots=True)
class Door:
    """All that the routes share. ``rates`` None: requests are not counted."""

    store: Database
    clock: Clock
    settings: Settings
    token: str
    hints: Hints
    identity: Identity
    outbox: Outbox
    uploads: Uploads
    rates: Rates | None = None
    metrics: Metrics = field(default_factory=Metrics)
    flood: Flood[tuple[str, Outcome, str, str]] = field(default_factory=Flood)
    mirror: Mirror = field(init=False)
    liveness: Liveness = field(init=False)
    reads: Reads = field(init=False)
    feed: Feed = field(init=False)
    crowd: Crowd = field(init=False)
    bound: Bound = field(init=False)
    phases: Phases = field(init=False)

    def __post_init__(self) -> None:
        mirror = Mirror(self.store, self.clock, self.hints)
        liveness = Liveness(mirror, self.store, self.clock, self.settings.server)
        made = {"mirror": mirror, "liveness": liveness}
        made |= {"reads": Reads(mirror, liveness)}
        made |= {"feed": Feed(self.store, mirror, liveness, refresh=self.identity.known.fresh)}
        made |= {"crowd": Crowd(self.settings.feeds)}
        made |= {"bound": Bound(self.store, self.clock, self.hints.poll_seconds, accounts=self.identity.known.look)}
        made |= {"phases": Phases(mirror)}
        for name, value in made.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, from where, in which request; writes are recorded as theirs.

    ``role`` is what they may be at this moment: of an API key no more than its ``scopes`` and its owner's role. ``uid`` is
    the user's (empty for the local administrator), ``key`` the API key's id, ``jti`` and ``family`` the login's.
    """

    name: str
    role: Role
    address: str
    request_id: str
    uid: str = ""
    scopes: frozenset[Scope] = SCOPES
    key: str = ""
    jti: str = ""
    family: str = ""

    @property
    def manager(self) -> str:
        return f"api:{self.name}"

    @property
    def actor(self) -> Actor:
        """As the audit log has them."""
        return Actor(self.manager, self.address, self.request_id)


async def door(request: HTTPConnection) -> Door:
    found: Door = request.app.state.door
    return found


async def principal(
    request: HTTPConnection, _: Annotated[None, Security(_bearer)], __: Annotated[None, Security(_password)]
) -> Principal:
    """Every route depends on it, so a new one is closed unless its path is put in ``OPEN``. Unauthorised."""
    return await identified(request)


async def identified(request: HTTPConnection) -> Principal:
    """Unauthorised. ``app.state.identify`` is what tells."""
    found: Principal = await request.app.state.identify(request)
    return found


async def identify(request: HTTPConnection) -> Principal:
    """By the token of the request. Unauthorised.

    Whoever is known is told to the edge too (``scope["principal"]``): it counts and logs by name.
    """
    ours = request.app.state.door
    address, request_id = request.scope["address"], request.scope["request_id"]
    if request.scope["path"] in OPEN:
        return Principal("anyone", Role.VIEWER, address, request_id)
    try:
        found = await bearer(ours, _sent(request))
    except Refused:
        raise Unauthorised(_SIGN_IN) from None
    who = acting(found, address, request_id)
    request.scope["principal"] = who
    return who


def acting(one: Bearer, address: str, request_id: str) -> Principal:
    return Principal(one.name, one.role, address, request_id, one.uid, one.scopes, one.key, one.jti, one.family)


def _sent(connection: HTTPConnection) -> str:
    """The token that came with it; of a WebSocket's page, that can set no header, as a subprotocol."""
    token = token_of(connection.headers.get("authorization", ""))
    if token is not None:
        return token
    offered = (one for one in connection.scope.get("subprotocols", ()) if one.startswith(_SUBPROTOCOL))
    return next(offered, "").removeprefix(_SUBPROTOCOL)


def token_of(authorization: str) -> str | None:
    """None where the header is for another scheme."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def recognised(ours: Door, token: str) -> Bearer | None:
    """Who stands behind this token, as far as can be told without asking anybody; None where it cannot."""
    if _local(ours, token):
        return _LOCALLY
    try:
        found = ours.identity.credentials.recognised(token)
    except Refused:
        return None
    return None if found.key and not ours.identity.noted(found.key) else found


def _local(ours: Door, token: str) -> bool:
    return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), ours.token.encode())


async def bearer(ours: Door, token: str) -> Bearer:
    """Who stands behind this token. The local administrator's needs no database. Refused, StoreError."""
    if _local(ours, token):
        return _LOCALLY
    if not token:
        raise Refused
    found = await ours.identity.credentials.bearer(token)
    if found.key:
        await ours.identity.used(found.key)
    return found


def whose(ours: Door, authorization: bytes) -> str | None:
    """The name behind a credential, as far as can be told without asking anybody; None where it cannot."""
    scheme, _, token = authorization.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        return None
    if hmac.compare_digest(token.strip().encode(), ours.token.encode()):
        return LOCAL
    try:
        return ours.identity.credentials.recognised(token.strip()).name
    except Refused:
        return None


class Opened:
    """The token that a stream was opened with; answers ``Pass``."""

    def __init__(self, ours: Door, connection: HTTPConnection) -> None:
        self._ours, self._token = ours, _sent(connection)

    def good(self) -> bool:
        return recognised(self._ours, self._token) is not None

    async def still(self) -> bool:
        """While the store is away, what was last known counts."""
        try:
            await bearer(self._ours, self._token)
        except Refused:
            return False
        except StoreError:
            return True
        return True


async def administrator(who: Annotated[Principal, Depends(principal)]) -> Principal:
    """Forbidden."""
    if who.role is not Role.ADMIN:
        raise Forbidden(f"This is for administrators, and {who.name} is {who.role} here: ask one of them.")
    return who


DoorOf = Annotated[Door, Depends(door)]
Asking = Annotated[Principal, Depends(principal)]
Administrator = Annotated[Principal, Depends(administrator)]
