"""One span a request, where traces are asked for."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import route
from controller.ports.traces import Traces


class Traced:
    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self.app, self.traces = app, traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        carrier = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        with self.traces.request(carrier) as span:
            try:
                await self.app(scope, receive, answer)
            finally:
                template, principal = route(scope), scope.get("principal")
                facts: dict[str, str | int] = {
                    "http.request.method": scope["method"],
                    "http.route": template,
                    "http.response.status_code": status,
                    "ggnet.request_id": scope["request_id"],
                }
                if principal is not None:
                    facts["enduser.id"] = principal.name
                span.end(f"{scope['method']} {template}", facts, failed=status >= 500)
