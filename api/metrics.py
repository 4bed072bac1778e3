"""What a monitoring system is told (Prometheus text format). One registry an app, so that two apps never share counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

from manifests.kinds import KINDS, Object


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ggnet_http_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram("ggnet_http_request_seconds", "Time to answer", ["route"], registry=self.registry)
        self.objects = Gauge("ggnet_objects", "Objects by kind and phase", ["kind", "phase"], registry=self.registry)

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """By the route's template, never by the path: a client must not be able to make new series."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self, objects: list[Object]) -> bytes:
        self.objects.clear()
        for kind in KINDS:
            self.objects.labels(kind, "Pending").set(0)
        for item in objects:
            self.objects.labels(item.kind, item.status.phase if item.status else "Pending").inc()
        return generate_latest(self.registry)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
