"""HTTP/1.1 on one connection, with what uvicorn leaves open: a head that never ends, or that is no HTTP at all.

uvicorn waits for a request's head for ever and takes one of any length; its body is bounded in ``api.edge.inflow``.
"""

import asyncio
import json
import os
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from api.edge.headers import secured
from api.edge.meter import FREE
from api.edge.outflow import Headers
from api.lane import Lane
from api.problems import MEDIA_TYPE, Row, document
from api.turnstile import Turnstile

HEAD_SECONDS = 15.0
HEAD_BYTES = 1 << 16
PUSH, CUT = "ggnet.push", "ggnet.cut"
"""Where a request's scope has ``Protocol.push`` and ``Protocol.cut`` of its connection; a WebSocket's has no push."""

_BROKEN = Row(400, "malformed", "The request cannot be read")
_SLOW = Row(408, "slow_head", "The head of the request did not come in time")
_LONG = Row(431, "head_too_large", "The head of the request is too large")
ROWS = (_BROKEN, _SLOW, _LONG)


class Protocol(HttpToolsProtocol):
    """One connection. The head of each request has a time and a size."""

    head_seconds = HEAD_SECONDS

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head: int | None = 0  # bytes of the head that is coming in, None while none is
        self._timer: asyncio.TimerHandle | None = None
        self._begun: RequestResponseCycle | None = None
        state = self.config.app.state  # type: ignore[union-attr]
        self._lane = cast(Lane, state.lane)
        self._turnstile, self._postern = cast(Turnstile, state.turnstile), cast(Turnstile, state.postern)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard()
        super().connection_lost(exc)
        one = self._begun
        if one is not None and not one.response_complete:  # uvicorn tells the last that came, be it still waiting its turn
            one.disconnected = True
            one.message_event.set()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head is None:
            return
        self._head += len(data)
        if self._head > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(_LONG, f"The head of a request has at most {HEAD_BYTES >> 10} KiB.")
            return
        self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, Any]", self.scope).update({PUSH: self.push, CUT: self.cut})
        self._head = 0

    def on_headers_complete(self) -> None:
        self._heard()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._begun, one = cycle, _Request(self, cycle, app)
        if not self._lane.take(one):
            one.begin()

    def admit(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """A task for this request, in its turn; who looks whether the door is open waits for nobody but their like."""
        turnstile = self._postern if cycle.scope["path"] in FREE else self._turnstile
        turnstile.enter(partial(super()._start_asgi_task, cycle, app))

    def push(self, data: bytes) -> bool:
        """Writes more of a stream that has begun, past whatever stands before it; False where it cannot be written now:
        the client does not keep up, or has gone."""
        cycle = self._begun
        if cycle is None or not cycle.chunked_encoding or cycle.response_complete or cycle.disconnected:
            return False
        if self.flow.write_paused or self.transport.is_closing():
            return False
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def cut(self) -> None:
        """Ends the connection, whatever its client has not taken yet."""
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        self._heard()
        self._refuse(_BROKEN, "What came is not HTTP/1.1, or its address is none.")

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self._late)

    def _heard(self) -> None:
        self._head = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait()  # the next request came too early: the one before it is still being answered
        elif self._head:
            self._refuse(_SLOW, f"The head of a request must come within {self.head_seconds:g} s.")
        else:
            self.transport.close()

    def _refuse(self, row: Row, detail: str) -> None:
        """The last word on this connection; what is under way on it is cut."""
        request_id = os.urandom(16).hex()
        now = self.config.app.state.door.clock.now()  # type: ignore[union-attr]
        content = json.dumps(document(row, detail, now, request_id)).encode()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(content)),
            (b"cache-control", b"no-store"),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        lines = [name + b": " + value + b"\r\n" for name, value in (*headers, *secured((), encrypted=False))]
        status = b"HTTP/1.1 %d %s\r\n" % (row.status, HTTPStatus(row.status).phrase.encode())
        self.transport.write(b"".join((status, *lines, b"\r\n", content)))
        self.transport.close()


class Socket(WebSocketsSansIOProtocol):
    """One WebSocket. uvicorn's own end of one waits until its client has taken all."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            cast("dict[str, Any]", self.scope)[CUT] = self.transport.abort


class _Request:
    """One request, before anybody has begun with it."""

    __slots__ = ("_app", "_cycle", "_line", "scope")

    def __init__(self, line: Protocol, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._line, self._cycle, self._app = line, cycle, app
        self.scope = cast(Scope, cycle.scope)

    def open(self) -> bool:
        cycle, line = self._cycle, self._line
        return cycle.keep_alive and not (cycle.disconnected or line.flow.write_paused or line.transport.is_closing())

    def answer(self, status: int, headers: Headers, rest: bytes) -> None:
        """With one write: what needs no more looks than these, and goes on with the connection."""
        cycle, line = self._cycle, self._line
        own = [b"%b: %b\r\n" % header for header in (*line.server_state.default_headers, *headers)]
        line.transport.write(b"".join((STATUS_LINE[status], *own, rest)))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()

    def begin(self) -> None:
        self._line.admit(self._cycle, self._app)
