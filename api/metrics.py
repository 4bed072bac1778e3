"""What a monitoring system is told (Prometheus text format). One registry an app, so that two apps never share counts."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from starlette.types import Scope

from controller.core.phases import SERVED, SESSION
from manifests.kinds import KINDS

PREFIX = "/api/v1"
NOWHERE = "none"
_PHASES = {kind: {"Pending"} for kind in KINDS} | {"Session": {*SESSION.values(), *filter(None, SERVED.values())}}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def route(scope: Scope) -> str:
    """The route's template, never the path: a client must not be able to make new series, nor lines of a log."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return NOWHERE
    return PREFIX + path if scope["path"].startswith(PREFIX + "/") else str(path)


class Metrics:
    def __init__(self) -> None:
        self._places: dict[
            tuple[str, str, int], tuple[Counter, Histogram]
        ] = {}  # to look a series up costs as much as to count
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "ggnet_http_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "ggnet_http_request_seconds", "Time to answer", ["route"], registry=self.registry, buckets=_SECONDS
        )
        self.in_flight = Gauge("ggnet_http_in_flight", "Requests that are being answered now", registry=self.registry)
        self.watchers = Gauge("ggnet_watchers", "Clients that follow the live feed now", registry=self.registry)
        self.store_up = Gauge("ggnet_store_up", "Whether the store answers", registry=self.registry)
        self.objects = Gauge("ggnet_objects", "Objects by kind and phase", ["kind", "phase"], registry=self.registry)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        place = (method if method in _METHODS else "other", route, status)
        found = self._places.get(place)
        if found is None:
            found = self._places[place] = self.requests.labels(*place), self.seconds.labels(route)
        found[0].inc()
        found[1].observe(seconds)

    def text(self, phases: Mapping[tuple[str, str], int], more: Iterable[Metric], *, store_up: bool) -> bytes:
        """``phases``: how many objects of a kind are in a phase; ``more`` are others' counts."""
        self.objects.clear()
        self.store_up.set(store_up)
        for kind in KINDS:
            for phase in _PHASES[kind]:
                self.objects.labels(kind, phase).set(0)
        for (kind, phase), count in phases.items():
            self.objects.labels(kind, phase).set(count)
        return generate_latest(_Joined([*self.registry.collect(), *more]))


class _Joined:
    """Metrics, as a registry hands them out."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics
