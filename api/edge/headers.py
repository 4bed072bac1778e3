"""What a browser is told about every answer: run nothing, frame nothing, guess nothing, tell nobody where you came from."""

from collections.abc import Collection, Iterable

CACHE = b"cache-control"
POLICY = b"content-security-policy"

# An answer of ours is data: nothing in it may run, load or be framed. The pages of the manual bring a policy of their own.
_CLOSED = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_STRICT = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (POLICY, _CLOSED),
)
_NAMES = frozenset(name for name, _ in _STRICT)

# RFC 6797, 7.2: never over plain HTTP, where anybody on the way could send it. A year, as browsers' lists ask for.
_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")


def secured(names: Collection[bytes], *, encrypted: bool) -> Iterable[tuple[bytes, bytes]]:
    """What to add to an answer that has headers of these names."""
    extra = _STRICT if _NAMES.isdisjoint(names) else tuple(one for one in _STRICT if one[0] not in names)
    return (*extra, _TRANSPORT) if encrypted else extra
