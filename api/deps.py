"""What a route needs to answer, and who is asking."""

import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.live.feed import Feed
from api.live.liveness import Liveness
from api.live.mirror import Mirror
from api.live.reads import Reads
from api.metrics import Metrics
from api.problems import Unauthorised
from controller.ports.clock import Clock
from controller.ports.hints import Hints
from controller.ports.store import Store
from controller.settings import Settings

OPEN = frozenset({"/healthz", "/readyz"})
_bearer = HTTPBearer(auto_error=False, description="The content of `admin.token` in the state folder")


@dataclass(frozen=True, slots=True)
class Door:
    """All that the routes share."""

    store: Store
    clock: Clock
    settings: Settings
    token: str
    hints: Hints
    metrics: Metrics = field(default_factory=Metrics)
    mirror: Mirror = field(init=False)
    liveness: Liveness = field(init=False)
    reads: Reads = field(init=False)
    feed: Feed = field(init=False)

    def __post_init__(self) -> None:
        mirror = Mirror(self.store, self.clock, self.hints)
        liveness = Liveness(mirror, self.store, self.clock, self.settings.server)
        made = {"mirror": mirror, "liveness": liveness}
        made |= {"reads": Reads(mirror, liveness), "feed": Feed(self.store, mirror, liveness)}
        for name, value in made.items():
            object.__setattr__(self, name, value)


class Role(StrEnum):
    VIEWER = "VIEWER"
    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, from where, in which request; writes are recorded as theirs."""

    name: str
    role: Role
    address: str
    request_id: str

    @property
    def manager(self) -> str:
        return f"api:{self.name}"


def door(request: Request) -> Door:
    found: Door = request.app.state.door
    return found


async def principal(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Principal:
    """Every route depends on it, so a new one is closed unless its path is put in ``OPEN``. Unauthorised."""
    address, request_id = request.client.host if request.client else "", request.scope["request_id"]
    if request.scope["path"] in OPEN:
        return Principal("anyone", Role.VIEWER, address, request_id)
    given = credentials.credentials if credentials else ""
    if not hmac.compare_digest(given.encode(), door(request).token.encode()):
        raise Unauthorised(
            "Send 'Authorization: Bearer TOKEN'; on the server the token is in admin.token (GGNET_STATE_DIR)."
        )
    return Principal("admin", Role.ADMIN, address, request_id)


DoorOf = Annotated[Door, Depends(door)]
Asking = Annotated[Principal, Depends(principal)]
