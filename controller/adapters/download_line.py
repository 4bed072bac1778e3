"""One request for the rest of a file: redirects followed and each checked, a range that is only taken if it fits."""

import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx

from controller.adapters.outbound import Outbound, reason, tls_failure
from controller.ports.host import EffectRefused
from controller.ports.notices import NotDelivered, Refused
from manifests.endpoints import Endpoint

_REDIRECTS = 5
_MOVED = (301, 302, 303, 307, 308)
_LATER = (408, 425, 429)
_LONGEST_WAIT = 900.0
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})", re.ASCII).fullmatch
_STRONG = re.compile(r'"[!#-~]{1,200}"', re.ASCII).fullmatch
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII).fullmatch


class Broken(Exception):
    """It did not come this time: ``str()`` says why, ``after`` is how many seconds the server asks to be left alone.
    ``anew``: what is there does not belong to what the server has now."""

    def __init__(self, message: str, after: float = 0.0, *, anew: bool = False) -> None:
        super().__init__(message)
        self.after, self.anew = after, anew


@dataclass(frozen=True, slots=True)
class Coming:
    """What comes begins at the byte ``offset`` of a file of ``total`` bytes (None: not told), known again by ``etag``."""

    offset: int
    total: int | None
    etag: str | None
    pieces: AsyncIterator[bytes]


class Line:
    """``seconds`` without a byte are a line that is lost."""

    def __init__(self, outbound: Outbound, seconds: float = 30.0) -> None:
        self._outbound, self._seconds = outbound, seconds

    @asynccontextmanager
    async def opened(self, url: str, offset: int = 0, etag: str | None = None) -> AsyncIterator[Coming]:
        """From ``offset`` if it is the same file still, else from its begin. Broken, also while it comes; EffectRefused."""
        fields = {"User-Agent": "GGnet-Import/1"}
        if offset and etag is not None:
            fields |= {"Range": f"bytes={offset}-", "If-Range": etag}
        begun = False
        try:
            async with self._found(Endpoint.parse(url), fields) as (endpoint, answer):
                coming = _coming(endpoint, answer, offset if "Range" in fields else 0, etag)
                begun = True
                yield coming
        except httpx.HTTPError as failed:
            if isinstance(tls_failure(failed), ssl.SSLCertVerificationError):
                raise EffectRefused(
                    "CertificateRefused",
                    f"{_host(url)}: {reason(failed)}: if an authority of your own signs it, set GGNET_IMPORT_CA_FILE",
                ) from failed
            cut = begun and isinstance(failed, httpx.RemoteProtocolError)  # so it is called where less came than was told
            raise Broken(f"{_host(url)}: {'the connection broke' if cut else reason(failed)}") from failed
        except ssl.SSLError as failed:
            raise Broken(f"{_host(url)}: the connection broke") from failed
        except NotDelivered as failed:
            raise Broken(str(failed)) from failed
        except Refused as refused:
            raise EffectRefused("AddressRefused", f"{_host(url)}: {refused}") from refused

    @asynccontextmanager
    async def _found(self, endpoint: Endpoint, fields: Mapping[str, str]) -> AsyncIterator[tuple[Endpoint, httpx.Response]]:
        """The answer that is no redirect."""
        for _ in range(_REDIRECTS + 1):
            async with self._outbound.asked("GET", endpoint, fields, self._seconds) as answer:
                if answer.status_code not in _MOVED:
                    yield endpoint, answer
                    return
                endpoint = _elsewhere(endpoint, answer.headers.get("location", ""))
        raise EffectRefused("DownloadRefused", f"{endpoint.host}: more than {_REDIRECTS} redirects: correct spec.source.url")


def authorities(more: Path | None) -> ssl.SSLContext:
    """The system's, and those of a file of certificates. EffectRefused."""
    context = ssl.create_default_context()
    if more is not None:
        try:
            context.load_verify_locations(cafile=more)
        except (OSError, ssl.SSLError) as error:  # an SSLError is an OSError; its text is about the content
            what = error.strerror if not isinstance(error, ssl.SSLError) else "it holds no certificates in PEM"
            raise EffectRefused("CertificateRefused", f"GGNET_IMPORT_CA_FILE: {more}: {what}") from error
    return context


def _elsewhere(endpoint: Endpoint, location: str) -> Endpoint:
    """EffectRefused, which repeats nothing of it."""
    try:
        found = Endpoint.parse(urljoin(f"{endpoint.scheme}://{endpoint.authority}{endpoint.target}", location))
        if found.scheme != "https":
            raise ValueError("it is not https")
    except ValueError as error:
        raise EffectRefused(
            "DownloadRefused", f"{endpoint.host} redirects to where nothing is fetched from: {error}"
        ) from error
    return found


def _coming(endpoint: Endpoint, answer: httpx.Response, offset: int, etag: str | None) -> Coming:
    status, host = answer.status_code, endpoint.host
    tag = answer.headers.get("etag", "")
    strong = tag if _STRONG(tag) else None
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise EffectRefused("DownloadRefused", f"{host} compresses the file on its way, unasked: fetch it elsewhere")
    if status == 200:
        length = answer.headers.get("content-length", "")
        return Coming(0, int(length) if _NUMBER(length) else None, strong, answer.aiter_raw())
    if status == 206 and offset:
        found = _RANGE(answer.headers.get("content-range", ""))
        if found is None or int(found[1]) != offset or (strong or etag) != etag:
            raise Broken(f"{host} has another file now", anew=True)
        return Coming(offset, int(found[2]), etag, answer.aiter_raw())
    if status == 416:
        raise Broken(f"{host} has a shorter file now", anew=True)
    if status in _LATER or status >= 500:
        asked = answer.headers.get("retry-after", "")
        raise Broken(f"{host} answered {status}", min(float(asked), _LONGEST_WAIT) if _NUMBER(asked) else 0.0)
    raise EffectRefused("DownloadRefused", f"{host} answered {status}: correct spec.source.url")


def _host(url: str) -> str:
    return Endpoint.parse(url).host
