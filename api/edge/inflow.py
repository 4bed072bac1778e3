"""The way in: a body is counted and timed while it streams, and refused before it was gathered."""

import asyncio
from collections.abc import Callable, Mapping

from starlette.types import Message, Receive

from api.edge.bounds import Bounds
from api.errors import SlowBody, TooLarge, Unsupported

_LITTLE = 1 << 16  # bytes that are read to their end rather than that a connection is lost


class Inflow:
    """``receive`` of one request; ``whole`` once nothing of its body is left to come. ``coming`` is called for each part."""

    __slots__ = ("_declared", "_late", "_receive", "_since", "_taken", "bounds", "coming", "whole")

    def __init__(self, receive: Receive, headers: Mapping[bytes, bytes], bounds: Bounds) -> None:
        length = headers.get(b"content-length", b"")
        self._declared = int(length) if length.isdigit() else 0
        self.whole = not self._declared and b"transfer-encoding" not in headers
        self._receive, self.bounds, self._taken, self._since, self._late = receive, bounds, 0, 0.0, False
        self.coming: Callable[[], object] | None = None

    def admit(self, headers: Mapping[bytes, bytes]) -> None:
        """What can be refused before a byte of it was read. TooLarge, Unsupported."""
        if self._declared > self.bounds.body:
            raise self._too_large()
        coding = headers.get(b"content-encoding", b"identity").strip().lower()
        if coding not in (b"identity", b"") and not self.whole:
            raise Unsupported("Send the body as it is: no Content-Encoding is taken.")

    async def __call__(self) -> Message:
        """TooLarge, SlowBody."""
        if self.whole:
            return await self._receive()
        message = await self._within(self.bounds.stall, self.bounds.upload)
        self._taken += len(message.get("body", b""))
        self.whole = message["type"] != "http.request" or not message.get("more_body", False)
        if self._taken > self.bounds.body:
            raise self._too_large()
        if self.coming is not None:
            self.coming()
        return message

    async def drain(self) -> None:
        """Reads and forgets what a client goes on sending after it was answered, up to a bound."""
        loop = asyncio.get_running_loop()
        until, most = loop.time() + self.bounds.linger, self._taken + self.bounds.drain
        while not self.whole and not self._late and self._taken < most:
            try:
                async with asyncio.timeout_at(until):
                    message = await self._receive()
            except TimeoutError:
                return
            self._taken += len(message.get("body", b""))
            self.whole = message["type"] != "http.request" or not message.get("more_body", False)

    @property
    def heavy(self) -> bool:
        """Whether so much may still come that the connection is better closed than read to its end."""
        return not self.whole and (self._late or not self._declared or self._declared - self._taken > _LITTLE)

    async def _within(self, stall: float, upload: float | None) -> Message:
        now = asyncio.get_running_loop().time()
        self._since = self._since or now
        left = stall if upload is None else self._since + upload - now
        try:
            async with asyncio.timeout(min(stall, max(0.0, left))):
                return await self._receive()
        except TimeoutError:
            self._late = True
            whole = "" if upload is None else f" and {upload:g} s in all"
            raise SlowBody(
                f"The body did not come within {stall:g} s without a pause{whole}: send it faster, or less."
            ) from None

    def _too_large(self) -> TooLarge:
        size = self.bounds.body
        shown = f"{size >> 20} MiB" if size >= 1 << 20 else f"{size} bytes"
        return TooLarge(f"The body is larger than {shown}: send it in several requests.")
