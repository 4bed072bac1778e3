"""The outermost ring of every request: an id, a limit on the body, the last word on a failure, a count.

Written against ASGI itself, because a body must be refused while it streams in, not after it was gathered.
"""

import re
import uuid

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.metrics import Metrics
from controller.ports.clock import Clock

MAX_BODY = 16 << 20
_DRAIN = 4 * MAX_BODY
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII).fullmatch
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)


class Edge:
    def __init__(self, app: ASGIApp, clock: Clock, metrics: Metrics) -> None:
        self.app = app
        self.clock = clock
        self.metrics = metrics
        self.log = structlog.get_logger("api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = _request_id(scope)
        started, status = self.clock.monotonic(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                extra = [header for header in _HEADERS if header[0] not in present]
                message["headers"] = [*message["headers"], *extra, (b"x-request-id", scope["request_id"].encode())]
            await send(message)

        try:
            await self.app(scope, _limited(receive), answer)
        except Exception as error:
            self.log.error("request failed", request_id=scope["request_id"], path=scope["path"], exc_info=error)
            if status:  # the answer is under way: cut it, so that nobody takes half of it for the whole
                raise
            request = Request(scope)
            detail = "The log of the server has more under this request id."
            await problems.response(request, problems.INTERNAL, detail)(scope, receive, answer)
        finally:
            self.metrics.count(scope, status or 499, self.clock.monotonic() - started)


def _request_id(scope: Scope) -> str:
    """The client's own id, if it is one that may stand in a log; else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    return given if _ID(given) else uuid.uuid4().hex


def _limited(receive: Receive) -> Receive:
    """Counts what comes in. What is too much is read and thrown away up to a bound, so that the client hears why."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken <= MAX_BODY:
            return message
        while message.get("more_body") and taken < _DRAIN:
            message = await receive()
            taken += len(message.get("body", b""))
        raise problems.TooLarge(f"The body is larger than {MAX_BODY >> 20} MiB: send it in several requests.")

    return limited
