"""The table: every route, and what one needs to be permitted to do to use it. A route without a row is closed to all.

What each role answers to each verb stands in ``api.verbs``; which objects, where a binding is asked, in ``api.permission``.
"""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from api import permission
from api.deps import Door, Principal, principal
from api.errors import Forbidden
from api.metrics import PREFIX
from api.verbs import Verb
from manifests.kinds import PLURALS

SOCKET = "SOCKET"
Address = tuple[str, str]

_SITE: dict[Address, Verb] = {
    ("GET", "/openapi.json"): Verb.ANYONE,
    ("GET", "/docs"): Verb.ANYONE,
    ("GET", "/docs/oauth2-redirect"): Verb.ANYONE,
    ("GET", "/docs/assets/{file}"): Verb.ANYONE,
    ("GET", "/redoc"): Verb.ANYONE,
    ("GET", "/healthz"): Verb.ANYONE,
    ("GET", "/readyz"): Verb.ANYONE,
    ("GET", "/metrics"): Verb.SURVEY,
    ("POST", "/apply"): Verb.WRITE,
    ("POST", "/plan"): Verb.READ,
    ("GET", "/drift"): Verb.READ,
    ("GET", "/events"): Verb.READ,
    ("GET", "/revisions"): Verb.SURVEY,
    ("POST", "/revisions/{sha}/approve"): Verb.APPROVE,
    ("GET", "/watch"): Verb.READ,
    (SOCKET, "/ws"): Verb.READ,
    ("GET", "/deleted"): Verb.READ,
    ("POST", "/bulk/start"): Verb.START,
    ("POST", "/bulk/stop"): Verb.STOP,
    ("POST", "/sessions/{name}/start"): Verb.START,
    ("POST", "/sessions/{name}/stop"): Verb.STOP,
    ("POST", "/sessions/{name}/commit"): Verb.WRITE,
    ("DELETE", "/sessions/{name}/commit"): Verb.STOP,
    ("POST", "/auth/login"): Verb.ANYONE,
    ("POST", "/auth/refresh"): Verb.ANYONE,
    ("POST", "/auth/register"): Verb.ANYONE,
    ("POST", "/auth/logout"): Verb.SELF,
    ("GET", "/auth/me"): Verb.SELF,
    ("POST", "/auth/password"): Verb.SELF,
    ("GET", "/tokens"): Verb.SELF,
    ("POST", "/tokens"): Verb.SELF,
    ("DELETE", "/tokens/{id}"): Verb.SELF,
    ("POST", "/tokens/{id}/rotate"): Verb.SELF,
    ("OPTIONS", "/uploads"): Verb.SELF,
    ("GET", "/uploads"): Verb.UPLOAD,
    ("POST", "/uploads"): Verb.UPLOAD,
    ("GET", "/uploads/{id}"): Verb.UPLOAD,
    ("PATCH", "/uploads/{id}"): Verb.UPLOAD,
    ("POST", "/uploads/{id}"): Verb.UPLOAD,
    ("DELETE", "/uploads/{id}"): Verb.UPLOAD,
    ("GET", "/users"): Verb.ADMINISTER,
    ("POST", "/users"): Verb.ADMINISTER,
    ("GET", "/users/{name}"): Verb.ADMINISTER,
    ("PATCH", "/users/{name}"): Verb.ADMINISTER,
    ("DELETE", "/users/{name}"): Verb.ADMINISTER,
    ("GET", "/webhooks"): Verb.ADMINISTER,
    ("POST", "/webhooks"): Verb.ADMINISTER,
    ("GET", "/webhooks/{id}"): Verb.ADMINISTER,
    ("PATCH", "/webhooks/{id}"): Verb.ADMINISTER,
    ("DELETE", "/webhooks/{id}"): Verb.ADMINISTER,
    ("POST", "/webhooks/{id}/rotate-secret"): Verb.ADMINISTER,
    ("POST", "/webhooks/{id}/test"): Verb.ADMINISTER,
    ("GET", "/webhooks/{id}/deliveries"): Verb.ADMINISTER,
    ("GET", "/webhooks/{id}/deliveries/{delivery}"): Verb.ADMINISTER,
    ("POST", "/webhooks/{id}/deliveries/{delivery}/retry"): Verb.ADMINISTER,
    ("GET", "/users/{name}/export"): Verb.ADMINISTER,
    ("GET", "/health"): Verb.ADMINISTER,
    ("GET", "/audit"): Verb.ADMINISTER,
    ("GET", "/audit/verify"): Verb.ADMINISTER,
    ("GET", "/bindings"): Verb.ADMINISTER,
    ("POST", "/bindings"): Verb.ADMINISTER,
    ("DELETE", "/bindings/{binding_id}"): Verb.ADMINISTER,
}
_KINDS: dict[Address, Verb] = {
    ("GET", "/{kinds}"): Verb.READ,
    ("POST", "/{kinds}"): Verb.WRITE,
    ("GET", "/{kinds}/{name}"): Verb.READ,
    ("PUT", "/{kinds}/{name}"): Verb.WRITE,
    ("PATCH", "/{kinds}/{name}"): Verb.WRITE,
    ("DELETE", "/{kinds}/{name}"): Verb.DELETE,
    ("DELETE", "/{kinds}"): Verb.DELETE,
    ("POST", "/{kinds}/{name}/restore"): Verb.WRITE,
    ("POST", "/{kinds}/{name}/suspend"): Verb.SUSPEND,
    ("POST", "/{kinds}/{name}/resume"): Verb.SUSPEND,
    ("GET", "/{kinds}/{name}/why"): Verb.READ,
}
TABLE: Mapping[Address, Verb] = {
    **_SITE,
    **{(method, path.replace("{kinds}", kinds)): verb for (method, path), verb in _KINDS.items() for kinds in PLURALS},
}
"""Method (``SOCKET`` for a WebSocket) and path template below ``PREFIX`` -> verb."""


def address(method: str, path: str) -> Address:
    """How a route is called in the table. Whether a router's own path has the prefix depends on FastAPI's version."""
    return method, path.removeprefix(PREFIX)


async def permitted(connection: HTTPConnection, who: Annotated[Principal, Depends(principal)]) -> None:
    """Every route depends on it: whether the asker may use the route at all. Forbidden."""
    scope = connection.scope
    at = address(scope.get("method", SOCKET), getattr(scope.get("route"), "path", ""))
    await check(connection.app.state.door, who, at)


async def check(door: Door, who: Principal, at: Address) -> None:
    """Forbidden."""
    verb = TABLE.get(at)
    if verb is None:
        raise Forbidden("Nobody is permitted to use this address: it has no row in the table of permissions.")
    if verb is Verb.ANYONE:
        return
    await door.bound.fresh()
    if not permission.reach(door, who).anywhere(verb):
        raise permission.refusal(who, verb)


def allows(door: Door, who: Principal, at: Address) -> bool:
    """What ``check`` would find by the bindings that were last read."""
    verb = TABLE.get(at)
    return verb is not None and (verb is Verb.ANYONE or permission.reach(door, who).anywhere(verb))
