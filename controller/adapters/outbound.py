"""The way to other people's web servers, without being sent where nobody should be sent (SSRF).

The name is resolved once, every address that it has is checked, and the connection goes to a checked one: httpx is given
the address in the URL, and the name only as Host header and for TLS, so there is no second look-up that could answer
differently (DNS rebinding). A connection serves one request. Redirects are not followed here; no proxy is asked.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import httpx

from controller.core.addresses import Network, is_allowed, plain, refusal
from controller.core.notices import printable
from controller.ports.notices import NotDelivered, Refused, Resolver
from manifests.endpoints import Address, Endpoint

_REASONS: Mapping[type[httpx.HTTPError], str] = {
    httpx.ConnectTimeout: "no connection in time",
    httpx.TimeoutException: "no answer in time",
    httpx.ConnectError: "no connection",
    httpx.RemoteProtocolError: "the answer is not HTTP",
    httpx.NetworkError: "the connection broke",
}


class Outbound:
    """``allowed`` are the networks that are not public and may be asked, also without TLS; ``setting`` names them.
    ``authorities`` makes what certificates are checked by: the system's, unless told otherwise."""

    def __init__(
        self,
        resolver: Resolver,
        allowed: Sequence[Network],
        setting: str,
        *,
        connect_seconds: float = 5.0,
        authorities: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._resolver = resolver
        self._allowed = allowed
        self._setting = setting
        self._connect_seconds = connect_seconds
        self._authorities = authorities
        self._tls: ssl.SSLContext | None = None

    async def addresses(self, endpoint: Endpoint) -> list[Address]:
        """All of them, each allowed. Refused, NotDelivered."""
        if endpoint.address is not None:
            found = [endpoint.address]
        else:
            found = _parsed(await self._resolver.resolve(endpoint.host, endpoint.port))
        for address in found:
            if why := refusal(address, self._allowed):
                raise Refused(f"{why}: nothing is sent there unless {self._setting} has its network")
            if endpoint.scheme == "http" and not is_allowed(address, self._allowed):
                raise Refused(f"use https: plain http goes only to the networks in {self._setting}, not to {address}")
        return found

    @asynccontextmanager
    async def asked(
        self, method: str, endpoint: Endpoint, headers: Mapping[str, str], seconds: float, body: bytes = b""
    ) -> AsyncIterator[httpx.Response]:
        """The answer, of which only the head was read; ``seconds`` without a byte end it. Refused, NotDelivered, and
        what httpx raises; OSError where the authorities cannot be read."""
        addresses = await self.addresses(endpoint)
        verify = await self._context() if endpoint.scheme == "https" else False
        fields = {**headers, "Host": endpoint.authority, "Accept-Encoding": "identity", "Connection": "close"}
        timeout = httpx.Timeout(seconds, connect=self._connect_seconds)
        extensions = {"sni_hostname": endpoint.host, "timeout": timeout.as_dict()}
        transport = httpx.AsyncHTTPTransport(verify=verify, trust_env=False)
        async with httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False) as client:
            requests = [
                httpx.Request(method, endpoint.at(one), headers=fields, content=body, extensions=extensions)
                for one in addresses
            ]
            answer = await _first(client, endpoint, requests)
            try:
                yield answer
            finally:
                await answer.aclose()

    async def _context(self) -> ssl.SSLContext:
        """To read the authorities takes a while, so once and in a thread."""
        if self._tls is None:
            self._tls = await anyio.to_thread.run_sync(self._authorities)
        return self._tls


async def _first(client: httpx.AsyncClient, endpoint: Endpoint, requests: Sequence[httpx.Request]) -> httpx.Response:
    """The answer of the first address that listens."""
    failed: httpx.ConnectError | None = None
    for request in requests:
        try:
            return await client.send(request, stream=True)
        except httpx.ConnectError as error:
            failed = error
    raise failed or NotDelivered(f"{endpoint.host} has no address")


def _parsed(found: Collection[str]) -> list[Address]:
    try:
        return [plain(text) for text in found]
    except ValueError:
        raise Refused("its name resolves to something that is no address") from None


def tls_failure(error: BaseException) -> ssl.SSLError | None:
    """What TLS itself has against it; that it was waiting for more when the time was over is nothing."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return None if isinstance(cause, ssl.SSLWantReadError | ssl.SSLWantWriteError) else cause


def reason(error: httpx.HTTPError) -> str:
    """Why nothing came of it, in words that repeat nothing of the URL."""
    if cause := tls_failure(error):
        return printable(f"TLS: {cause}", 200)
    return next((text for kind, text in _REASONS.items() if isinstance(error, kind)), "it could not be sent")
