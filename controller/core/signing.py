"""Signatures as Standard Webhooks has them (https://www.standardwebhooks.com, v1), so that its verifiers fit.

HMAC-SHA256 over ``id.timestamp.body``. While a secret is rotated, both sign: the header holds one signature for each.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64


def key(secret: str) -> bytes:
    """The bytes behind ``whsec_BASE64``. ValueError."""
    try:
        found = base64.b64decode(secret.removeprefix(PREFIX).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        found = b""
    if not secret.startswith(PREFIX) or not SHORTEST <= len(found) <= LONGEST:
        raise ValueError(f"a secret is {PREFIX} and {SHORTEST} to {LONGEST} bytes in base64; leave it out to get one")
    return found


def written(random: bytes) -> str:
    return PREFIX + base64.b64encode(random).decode()


def headers(identifier: str, at: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """``at`` in seconds since 1970: a verifier refuses what is older than some minutes, so each try is signed anew."""
    signed = f"{identifier}.{at}.".encode() + body
    signatures = [
        "v1," + base64.b64encode(hmac.new(key(secret), signed, hashlib.sha256).digest()).decode() for secret in secrets
    ]
    return {"webhook-id": identifier, "webhook-timestamp": str(at), "webhook-signature": " ".join(signatures)}
