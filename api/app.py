"""The REST door as one application: routes behind the token, problems as RFC 9457, the edge around it all."""

from typing import Any

import anyio
from fastapi import Depends, FastAPI
from fastapi.telemetry import TelemetryConfig

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
from api.deps import OPEN, Door, identify
from api.edge.bounds import Bounds
from api.edge.ring import Edge
from api.edge.traced import Traced
from api.express import Express
from api.manual import Manual, installed
from api.metrics import PREFIX
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
    *map(objects.router, PLURALS),
)
"""Below ``PREFIX``."""


def create(door: Door, bounds: Bounds = _BOUNDS, traces: Traces | None = None) -> FastAPI:
    app = _App(
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
    app.state.door, app.state.identify, app.state.completing = door, identify, anyio.Lock()
    Manual(app, installed())
    app.include_router(health.router)
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
    problems.install(app)
    app.add_middleware(Express, door=door)
    if traces is not None:
        app.add_middleware(Traced, traces=traces)
    app.add_middleware(Edge, door=door, bounds=bounds)
    return app
