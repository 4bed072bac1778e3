"""The way out: freshness, packing and headers of one answer.

An answer that is one piece (all but streams) is held until its body is there: only then is known whether the client has
it already, and how long it is when packed.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from anyio import to_thread
from starlette.types import Message, Send

from api.edge import fresh, packing
from api.edge.headers import CACHE
from api.edge.inflow import Inflow

Headers = list[tuple[bytes, bytes]]

_STREAM = b"text/event-stream"
_JSON = b"application/json"


class Outflow:
    """``send`` of one request. ``status`` is 0 until a route answers; ``begun`` once the client has heard of it.

    ``finish`` says what to add to an answer with headers of these names. ``versioned``: what has no ETag is given one.
    """

    __slots__ = (
        "_asked",
        "_finish",
        "_head",
        "_inflow",
        "_named",
        "_send",
        "_start",
        "_versioned",
        "begun",
        "done",
        "long",
        "status",
    )

    def __init__(
        self,
        send: Send,
        asked: Mapping[bytes, bytes],
        inflow: Inflow,
        finish: Callable[[Collection[bytes]], Iterable[tuple[bytes, bytes]]],
        *,
        head: bool,
        versioned: bool,
    ) -> None:
        self._send, self._asked, self._inflow, self._finish = send, asked, inflow, finish
        self._head, self._versioned = head, versioned
        self._start: Message | None = None
        self._named: dict[bytes, bytes] = {}
        self.long: Callable[[bool], Any] | None = None
        self.status, self.begun, self.done = 0, False, False

    async def __call__(self, message: Message) -> None:
        if self.done:
            return
        if message["type"] == "http.response.start":
            self.status, self._start = message["status"], message
            self._named = dict(message["headers"])
            if self._named.get(b"content-type", b"").startswith(_STREAM):
                await self._begin(endless=True)
        elif self._start is None:
            await self._part(message.get("body", b""), more=message.get("more_body", False))
        elif message.get("more_body", False):
            await self._begin()
            await self._part(message.get("body", b""), more=True)
        else:
            await self._whole(self._start, message.get("body", b""))

    async def _begin(self, *, endless: bool = False) -> None:
        """The head of an answer that comes in parts; of a HEAD it is all there is."""
        start, self._start = self._start, None
        assert start is not None
        if self.long is not None:
            self.long(endless)
        await self._open(start["status"], list(start["headers"]))
        if self._head:
            await self._part(b"", more=False)

    async def _whole(self, start: Message, body: bytes) -> None:
        status, headers = start["status"], list(start["headers"])
        if status == 200 and self._versioned:
            etag = self._named.get(b"etag", b"")
            if not etag and self._named.get(b"content-type", b"").startswith(_JSON):
                etag = fresh.tag(body) if len(body) < packing.LONG else await to_thread.run_sync(fresh.tag, body)
                headers.append((b"etag", etag))
                self._named[b"etag"] = etag
            if etag and (given := self._asked.get(b"if-none-match")) and fresh.has(given, etag):
                self.status = status = 304
                headers, body = _without(headers, b"content-length", b"content-type"), b""
        if len(body) >= packing.LEAST and packing.packable(self._named.get(b"content-type", b"")):
            headers, body = await self._packed(headers, body)
        self._start = None
        await self._open(status, headers)
        await self._part(body, more=False)

    async def _packed(self, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
        headers.append((b"vary", b"Accept-Encoding"))
        if not packing.wanted(self._asked.get(b"accept-encoding", b"")) or b"content-encoding" in self._named:
            return headers, body
        body = packing.pack(body) if len(body) < packing.LONG else await to_thread.run_sync(packing.pack, body)
        etag = self._named.get(b"etag", b"")
        headers = [*_without(headers, b"content-length", b"etag"), (b"content-encoding", b"gzip")]
        headers.append((b"content-length", b"%d" % len(body)))
        if etag:
            headers.append((b"etag", b"W/" + etag.removeprefix(b"W/")))
        return headers, body

    async def _open(self, status: int, headers: Headers) -> None:
        if CACHE not in self._named:
            versioned = self._versioned and b"etag" in self._named
            headers += ((CACHE, b"private, no-cache"), (b"vary", b"Authorization")) if versioned else ((CACHE, b"no-store"),)
        if self._inflow.heavy:
            headers.append((b"connection", b"close"))
        self.begun = True
        headers += self._finish(self._named)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _part(self, body: bytes, *, more: bool) -> None:
        """A client that is still sending hears the answer before its connection is closed."""
        self.done = not more
        if self._head:
            body = b""
        if not more and self._inflow.heavy:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            await self._inflow.drain()
            body = b""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _without(headers: Headers, *names: bytes) -> Headers:
    return [header for header in headers if header[0] not in names]
