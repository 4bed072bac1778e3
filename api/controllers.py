"""What the store knows, as metrics: how much waits for webhooks, and what the controllers have counted.

Each controller writes a row every ten seconds. One of another version may lack a part: then that metric is left out, and
the rest is shown.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from api.deps import Door
from controller.core.names import controller_lease
from controller.core.notices import Undelivered
from controller.core.snapshot import METRICS

_SERVER = ["server"]
_STEP = ["server", "action", "outcome"]


async def told(door: Door) -> Iterator[Metric]:
    """StoreError."""
    rows = await door.store.observations(METRICS)
    now = door.clock.now()
    counts = {key.removeprefix(METRICS): json.loads(row) for key, row in rows.items()}
    leases = {server: await door.store.lease(controller_lease(server)) for server in sorted({*counts, door.settings.server})}
    up = {server: float(lease is not None and lease.expires > now) for server, lease in leases.items()}
    return chain(_metrics(up, counts, now), [_webhooks(await door.outbox.notices.undelivered())])


def _metrics(up: Mapping[str, float], counts: Mapping[str, Mapping[str, Any]], now: datetime) -> Iterator[Metric]:
    yield _gauge("ggnet_controller_up", "Whether a controller holds the server's lease", up)
    yield _passes(counts)
    steps = CounterMetricFamily(
        "ggnet_steps", "Steps by what they did and how they ended", labels=["server", "action", "outcome"]
    )
    for server, row in counts.items():
        for action, outcome, count in row.get("steps", ()):
            steps.add_metric([server, action, outcome], count)
    yield steps
    for name, key, help_ in (
        ("ggnet_drift_found", "drift", "Steps by which a sweep put right what was changed by other hands"),
        ("ggnet_dhcpd_restarts", "restarts", "Loads of dhcpd, each a restart"),
    ):
        counter = CounterMetricFamily(name, help_, labels=_SERVER)
        for server, value in _each(counts, key):
            counter.add_metric([server], value)
        yield counter
    verified = {server: _age(now, value) for server, value in _each(counts, "verified")}
    yield _gauge("ggnet_unverified_seconds", "Since the last look that saw everything began", verified)
    yield _gauge("ggnet_dirty_keys", "Objects that wait for a pass", dict(_each(counts, "dirty")))
    yield _pool(counts)
    targets = GaugeMetricFamily("ggnet_targets", "Targets by whether their PC is logged in", labels=["server", "login"])
    for server, value in _each(counts, "targets"):
        for login in ("none", "active", "unknown"):
            targets.add_metric([server, login], value.get(login, 0))
    yield targets


def _webhooks(undelivered: Mapping[Undelivered, int]) -> Metric:
    family = GaugeMetricFamily("ggnet_webhook_deliveries", "Deliveries to webhooks that have not arrived", labels=["state"])
    for state, count in undelivered.items():
        family.add_metric([state], count)
    return family


def _passes(counts: Mapping[str, Mapping[str, Any]]) -> Metric:
    family = HistogramMetricFamily("ggnet_pass_seconds", "Reconcile passes", labels=["server", "kind"])
    for server, row in counts.items():
        for kind, times in row.get("passes", {}).items():
            family.add_metric([server, kind], list(_cumulative(row["buckets"], times["counts"])), times["total"])
    return family


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        total += count
        yield bound, total


def _pool(counts: Mapping[str, Mapping[str, Any]]) -> Metric:
    family = GaugeMetricFamily("ggnet_pool_bytes", "The pool's file system", labels=["server", "kind"])
    for server, pool in _each(counts, "pool"):
        for kind, value in (("free", pool["free"]), ("total", pool["total"]), ("used", pool["total"] - pool["free"])):
            family.add_metric([server, kind], value)
    return family


def _each(counts: Mapping[str, Mapping[str, Any]], key: str) -> Iterable[tuple[str, Any]]:
    return ((server, row[key]) for server, row in counts.items() if row.get(key) is not None)


def _gauge(name: str, help_: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=_SERVER)
    for server, value in values.items():
        family.add_metric([server], value)
    return family


def _age(now: datetime, text: str) -> float:
    return max(0.0, (now - datetime.fromisoformat(text)).total_seconds())
