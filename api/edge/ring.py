"""The outermost ring of every request: an id, what may come in, the last word on a failure, a line in the log, a count."""

import asyncio
import random
import re
from collections.abc import Mapping
from dataclasses import replace

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api import peer, problems
from api.deps import Door
from api.edge.book import Book
from api.edge.bounds import Bounds
from api.edge.cors import Origins
from api.edge.deadline import Deadline
from api.edge.headers import secured
from api.edge.inflow import Inflow
from api.edge.meter import Meter
from api.edge.outflow import Headers, Outflow
from api.errors import Malformed, TooSlow
from api.uploads import tus

_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch
_GONE = 499  # of a client that did not wait for its answer; never sent


class Edge:
    def __init__(self, app: ASGIApp, door: Door, bounds: Bounds, meter: Meter | None, book: Book) -> None:
        self.app, self.bounds, self.meter, self.book = app, bounds, meter, book
        self.uploads = replace(bounds, body=door.uploads.most, upload=None)
        self.clock = door.clock
        self.proxies = door.settings.proxies or ()
        self.origins = Origins(door.settings.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        scope["request_id"], scope["address"] = request_id(headers), peer.address(scope, self.proxies)
        structlog.contextvars.bind_contextvars(request_id=scope["request_id"])
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await self._answer(scope, headers, receive, send)

    async def _answer(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        head = scope["method"] == "HEAD"
        if head:  # RFC 9110, 9.3.2: as GET, without the content
            scope = {**scope, "method": "GET"}
        extra: Headers = [*self.origins.opened(headers), (b"x-request-id", scope["request_id"].encode())]
        if tus.speaks(scope["path"]):
            extra.append((b"tus-resumable", problems.TUS.encode()))
        over_tls = peer.encrypted(scope, self.proxies)
        bounds = self.uploads if tus.streams(scope["method"], scope["path"], headers) else self.bounds
        inflow = Inflow(receive, headers, bounds)
        outflow = Outflow(
            send,
            headers,
            inflow,
            lambda names: [*secured(names, encrypted=over_tls), *extra],
            head=head,
            versioned=scope["method"] == "GET" and scope["path"].startswith("/api/"),
        )
        began = self.clock.monotonic()
        self.book.metrics.in_flight.inc()
        try:
            await self._guarded(scope, headers, inflow, outflow, extra)
        except ClientDisconnect:
            outflow.status = outflow.status or _GONE
        finally:
            self.book.metrics.in_flight.dec()
            if self.meter is not None:
                self.meter.settle(scope, headers)
            method = "HEAD" if head else scope["method"]
            self.book.enter(scope, outflow.status or _GONE, self.clock.monotonic() - began, method)

    async def _guarded(
        self, scope: Scope, headers: Mapping[bytes, bytes], inflow: Inflow, outflow: Outflow, extra: Headers
    ) -> None:
        """The route's answer, or why there is none. What was not foreseen is one line in the log and a 500."""
        try:
            if self.origins.preflight(scope["method"], headers):
                await self.origins.answer(outflow)
                return
            if self.meter is not None and (standing := await self.meter.charge(scope, headers)) is not None:
                extra += standing.headers()
            if b"%00" in scope["query_string"]:
                raise Malformed("The query holds a NUL (%00), and nothing here has one in it.")
            inflow.admit(headers)
            await self._timed(scope, inflow, outflow)
        except ClientDisconnect:
            raise
        except Exception as error:
            if outflow.begun:  # cut it, so that nobody takes half of it for the whole
                self.book.failed(scope, error)
                raise
            if problems.row(error) is None:
                self.book.failed(scope, error)
            await problems.answer(Request(scope), error)(scope, inflow, outflow)

    async def _timed(self, scope: Scope, inflow: Inflow, outflow: Outflow) -> None:
        """TooSlow."""
        bounds = inflow.bounds
        seconds = bounds.answer + (0 if inflow.whole else bounds.upload or bounds.stall)
        deadline = Deadline(seconds)
        if bounds.upload is None:
            inflow.coming = lambda: deadline.move(seconds)
        outflow.long = lambda endless: deadline.move(None if endless else bounds.download)
        try:
            await self.app(scope, inflow, outflow)
        except asyncio.CancelledError:
            if not deadline.passed():
                raise
            raise TooSlow(
                f"The answer took longer than {seconds:g} s. What was asked may have been done all the same: look before "
                "you ask again."
            ) from None
        finally:
            deadline.move(None)


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The client's own id, if it is one that may stand in a log; else a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _ID(given) else f"{random.getrandbits(128):032x}"
