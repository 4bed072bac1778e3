"""What is kept of every request once it was answered: a line in the log, and a count."""

import structlog
from starlette.types import Scope

from api.edge.meter import FREE
from api.metrics import Metrics, route

_QUIET = FREE | {"/metrics"}


class Book:
    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self._log = structlog.get_logger(part="api")

    def enter(self, scope: Scope, status: int, seconds: float, method: str) -> None:
        template = route(scope)
        self.metrics.count(method, template, status, seconds)
        principal = scope.get("principal")
        tell = self._log.warning if status >= 500 else self._log.debug if scope["path"] in _QUIET else self._log.info
        tell(
            "request",
            method=method if len(method) < 16 else "other",
            route=template,
            status=status,
            seconds=round(seconds, 6),
            who=principal.name if principal is not None else None,
            address=scope["address"],
            request_id=scope["request_id"],
        )

    def failed(self, scope: Scope, error: Exception) -> None:
        self._log.error("request failed", route=route(scope), exc_info=error)
