"""What tus 1.0.0 says in headers, read strictly. Nothing of it is ever a path."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import get_args

from api.errors import Malformed, OtherVersion, Unsupported
from api.metrics import PREFIX
from api.problems import TUS
from controller.ports.uploads import ALGORITHMS, Algorithm, Checksum

EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
MEDIA = "application/offset+octet-stream"
PATH = "/uploads"
_PLACE = f"{PREFIX}{PATH}"
_LONGEST = 4096  # of all metadata: a file name has 255 bytes
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII).fullmatch
_KEY = re.compile(r"[!-+\--~]{1,255}", re.ASCII).fullmatch
assert get_args(Algorithm) == ALGORITHMS


def speaks(path: str) -> bool:
    """Whether this address speaks tus."""
    return path == _PLACE or path.startswith(_PLACE + "/")


def streams(method: str, path: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether the body is a piece of a file, which may be as long as the file is and take as long as the line needs."""
    return method in ("POST", "PATCH") and speaks(path) and carries(headers.get(b"content-type", b"").decode("latin-1"))


def carries(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == MEDIA


def same_version(given: str | None) -> None:
    """OtherVersion."""
    if given != TUS:
        raise OtherVersion(f"Tus-Resumable: send {TUS}, which is the version of tus that is spoken here.")


def piece(content_type: str) -> None:
    """Unsupported."""
    if not carries(content_type):
        raise Unsupported(f"Content-Type: a piece of an upload is sent as {MEDIA}.")


def number(given: str | None, field: str) -> int:
    """Malformed."""
    if given is None or not _NUMBER(given):
        raise Malformed(f"{field}: send a number of bytes, like {field}: 1048576.", field)
    return int(given)


def metadata(given: str) -> dict[str, str]:
    """Keys and what they stand for, as text. Malformed."""
    found: dict[str, str] = {}
    if len(given) > _LONGEST:
        raise Malformed(f"Upload-Metadata: it has at most {_LONGEST} characters.", "Upload-Metadata")
    for pair in given.split(",") if given.strip() else ():
        key, _, value = pair.strip().partition(" ")
        try:
            text = base64.b64decode(value.encode("ascii"), validate=True).decode("utf-8", "backslashreplace")
        except (binascii.Error, UnicodeEncodeError):
            text = None
        if text is None or not _KEY(key) or key in found:
            raise Malformed(
                "Upload-Metadata: send pairs with commas between, each a key of its own, a space, and a value in base64.",
                "Upload-Metadata",
            )
        found[key] = text
    return found


def checksum(given: str | None) -> Checksum | None:
    """Malformed."""
    if given is None:
        return None
    word, _, encoded = given.strip().partition(" ")
    algorithm = next((one for one in ALGORITHMS if one == word), None)
    if algorithm is None:
        raise Malformed(f"Upload-Checksum: the algorithms are {' and '.join(ALGORITHMS)}.", "Upload-Checksum")
    try:
        digest = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        digest = b""
    if len(digest) != {"sha1": 20, "sha256": 32}[algorithm]:
        raise Malformed(f"Upload-Checksum: after {algorithm} comes its digest in base64.", "Upload-Checksum")
    return Checksum(algorithm, digest)
