"""Which pages of other origins a browser may let ask us (Fetch standard, CORS): those of a list, none by default.

No credentials of the browser's own are allowed: who asks sends a bearer token, which no page sends by accident.
"""

from collections.abc import Mapping, Sequence

from starlette.types import Message, Send

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_TAKES = (
    b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Tus-Resumable, Upload-Checksum, "
    b"Upload-Length, Upload-Metadata, Upload-Offset, X-HTTP-Method-Override, X-Request-ID"
)
_SHOWS = (
    b"ETag, Idempotent-Replay, Link, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, "
    b"Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Expires, Upload-Length, "
    b"Upload-Metadata, Upload-Offset, Warning, X-Request-ID"
)
_AGE = b"600"  # seconds that a browser may remember it: so long a shortened list goes on for pages that are open


class Origins:
    """``allowed`` are origins as a browser writes them: ``https://panel.example:8443``."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(one.encode() for one in allowed)

    def preflight(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        """Whether it is a browser's question that the edge itself answers."""
        return method == "OPTIONS" and b"access-control-request-method" in headers and self._known(headers)

    def opened(self, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """What an answer needs so that the page may read it; without a list nothing depends on the origin."""
        if not self._allowed:
            return []
        if not self._known(headers):
            return [(b"vary", b"Origin")]
        origin = (b"access-control-allow-origin", headers[b"origin"])
        return [origin, (b"access-control-expose-headers", _SHOWS), (b"vary", b"Origin")]

    async def answer(self, send: Send) -> None:
        headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _TAKES),
            (b"access-control-max-age", _AGE),
        ]
        start: Message = {"type": "http.response.start", "status": 204, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    def _known(self, headers: Mapping[bytes, bytes]) -> bool:
        return headers.get(b"origin", b"") in self._allowed
