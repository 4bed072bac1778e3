"""The REST door as one application: routes behind the token, problems as RFC 9457, the edge around it all."""

from functools import cache, partial
from typing import Any

import anyio
from fastapi import Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import BaseRoute

from api import (
    access,
    answers,
    audit,
    bindings,
    bulk,
    changes,
    deleted,
    examples,
    health,
    history,
    inspection,
    objects,
    problems,
    sessions,
    socket,
    watch,
    webhooks,
)
from api.answers import refusals
from api.auth import routes as auth
from api.auth import tokens, users
from api.deps import OPEN, Door, identify, whose
from api.edge.book import Book
from api.edge.bounds import Bounds
from api.edge.meter import Meter
from api.edge.ring import Edge
from api.edge.traced import Traced
from api.express import Express
from api.lane import Lane
from api.manual import Manual, installed
from api.metrics import PREFIX
from api.turnstile import SHORT, Turnstile
from api.uploads import routes as uploads
from api.version import version
from controller.ports.traces import Traces
from manifests.kinds import PLURALS

_BOUNDS = Bounds()
_ANYWHERE = (400, 403, 404, 408, 409, 412, 413, 415, 429, 504)
"""What any route may answer beside what it is for; routes say more of those that are theirs."""
_ABOUT = """Diskless boot, declared. Objects are the manifests that `ggnet validate` reads; the daemon makes the
boot server match.

Every request but `/healthz`, `/readyz`, the login and these pages needs `Authorization: Bearer TOKEN`: an access token
of `POST /api/v1/auth/login` (the button Authorize does that), an API key, or the local administrator's token. Errors are
`application/problem+json` (RFC 9457) with `error_code`, `request_id` and `errors[]`."""


# The framework's own would tell what was not masked, twice, and to whom its environment variables say: ours is Traced.
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """With the components that routes refer to. What is open says so: what closes all others stands on every route."""
        document = super().openapi()
        for name, more in {**answers.components(), **examples.components()}.items():
            document["components"].setdefault(name, {}).update(more)
        for path in OPEN:
            for operation in document["paths"].get(path, {}).values():
                operation["security"] = []
        return document


ROUTERS = (
    changes.router,
    bulk.router,
    deleted.router,
    sessions.router,
    history.router,
    audit.router,
    inspection.router,
    watch.router,
    socket.router,
    webhooks.router,
    auth.router,
    users.router,
    tokens.router,
    bindings.router,
    uploads.router,
    *map(objects.router, PLURALS),
)
"""Below ``PREFIX``."""


def _bare() -> FastAPI:
    return _App(
        title="GGnet",
        version=version(),
        summary="Declarative reconciler for diskless boot",
        description=_ABOUT,
        dependencies=[Depends(access.permitted)],
        responses=refusals(*_ANYWHERE),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """The same for every application of this process: what the framework works out for a route takes it a millisecond."""
    app = _bare()
    app.include_router(health.router)
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
    return tuple(app.routes)


def create(door: Door, bounds: Bounds = _BOUNDS, traces: Traces | None = None) -> FastAPI:
    app = _bare()
    app.state.door, app.state.identify, app.state.completing = door, identify, anyio.Lock()
    Manual(app, installed())
    app.router.routes.extend(_routes())
    problems.install(app)
    app.add_middleware(Express, door=door)
    if traces is not None:
        app.add_middleware(Traced, traces=traces)
    meter, book = _meter(door), Book(door.metrics)
    app.add_middleware(Edge, door=door, bounds=bounds, meter=meter, book=book)
    app.state.turnstile, app.state.postern = Turnstile(), Turnstile(SHORT)
    app.state.lane = Lane(app.state, door, meter, book, traced=traces is not None)
    return app


def _meter(door: Door) -> Meter | None:
    if door.rates is None:
        return None
    return Meter(door.rates, door.settings, door.clock, door.token, partial(whose, door))
