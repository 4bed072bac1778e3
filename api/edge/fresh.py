"""What a client has already is not sent again: ETag, If-None-Match, 304 (RFC 9110, 8.8.3 and 13.1.2)."""

import hashlib
import re

_TAG = re.compile(rb'(?:W/)?("[^"]*")')


def tag(body: bytes) -> bytes:
    """Of an answer that has no version of its own: the digest of its bytes."""
    return b'"' + hashlib.blake2b(body, digest_size=12).hexdigest().encode() + b'"'


def has(if_none_match: bytes, etag: bytes) -> bool:
    """Weak comparison: packing an answer does not make it another."""
    if if_none_match.strip() == b"*":
        return True
    return etag.removeprefix(b"W/") in _TAG.findall(if_none_match)
