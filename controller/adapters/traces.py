"""Traces of what was answered, sent by OTLP over HTTP (OpenTelemetry).

A span has what the log's line has: method, route template, status, request id, who. No query and no header: that is where
secrets travel. The trace that a caller has begun is gone on with (W3C ``traceparent``).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from controller.adapters.extras import NotInstalled
from controller.ports.traces import Span

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan


class Otlp:
    """Answers ``Traces``. NotInstalled."""

    def __init__(self, endpoint: str, *, version: str, server: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise NotInstalled("GGNET_OTLP_ENDPOINT", "otel") from error
        named = {"service.name": "ggnet", "service.version": version, "service.instance.id": server}
        self._provider: TracerProvider = TracerProvider(resource=Resource.create(named))
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("ggnet")

    @contextmanager
    def request(self, carrier: Mapping[str, str]) -> Iterator[Span]:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract(carrier)
        with self._tracer.start_as_current_span(
            "request", context, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            yield _Span(span)

    def close(self) -> None:
        self._provider.shutdown()


class _Span:
    def __init__(self, span: "OtelSpan") -> None:
        self._span = span

    def end(self, name: str, facts: Mapping[str, str | int], *, failed: bool) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.update_name(name)
        self._span.set_attributes(facts)
        if failed:
            self._span.set_status(Status(StatusCode.ERROR))
