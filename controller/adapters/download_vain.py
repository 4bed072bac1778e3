"""``DIGEST.vain`` in the folder of downloads: what came under that name was another file, how often, and until when nobody
asks for it again.

It outlives the process: whoever publishes the file is not asked more often because a controller is restarted.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from controller.adapters import download_part, files
from controller.core import backoff


@dataclass(frozen=True, slots=True)
class Vain:
    """``url`` is a digest of it, ``until`` in seconds since 1970, ``said`` what people are told."""

    url: str
    times: int
    until: float
    said: str


def read(folder: Path, digest: str, url: str) -> Vain | None:
    """What was noted of this digest from this URL; a note that cannot be read is none."""
    with suppress(OSError, ValueError, TypeError):
        told = Vain(**json.loads(files.read(_path(folder, digest), 1 << 16)))
        if told.url == _key(url):
            return Vain(told.url, int(told.times), float(told.until), str(told.said))
    return None


def note(folder: Path, digest: str, url: str, said: str, now: datetime) -> float:
    """All of it is thrown away, but that; the seconds until it may be asked for again. OSError."""
    before = read(folder, digest, url)
    times = before.times + 1 if before else 1
    pause = backoff.wrong(times)
    download_part.drop(folder, digest)
    told = Vain(_key(url), times, now.timestamp() + pause, said)
    files.replace(_path(folder, digest), json.dumps(asdict(told)).encode(), 0o600)
    return pause


def _path(folder: Path, digest: str) -> Path:
    return folder / f"{digest}{download_part.VAIN}"


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()  # what is in a URL may be a secret
