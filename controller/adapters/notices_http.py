"""To other people's web servers, without being sent where nobody should be sent (SSRF).

The name is resolved once, every address that it has is checked, and the connection goes to a checked one: httpx is given
the address in the URL, and the name only as Host header and for TLS, so there is no second look-up that could answer
differently (DNS rebinding). A connection serves one delivery. Redirects are failures; no proxy is asked.
"""

import ssl
from collections.abc import Collection, Mapping, Sequence

import anyio
import httpx

from controller.core.addresses import Address, Network, is_allowed, plain, refusal
from controller.core.endpoints import Endpoint
from controller.core.notices import printable
from controller.ports.notices import NotDelivered, Refused, Resolver

_ANSWER = 4096
_ANSWER_SECONDS = 1.0  # what comes after the status is of no interest; a receiver that has not ended is cut
_AGENT = "GGnet-Webhooks/1"
_REASONS: Mapping[type[httpx.HTTPError], str] = {
    httpx.ConnectTimeout: "no connection in time",
    httpx.TimeoutException: "no answer in time",
    httpx.ConnectError: "no connection",
    httpx.RemoteProtocolError: "the answer is not HTTP",
    httpx.NetworkError: "the connection broke",
}


class HttpCourier:
    """``allowed`` are the networks that are not public and may be sent to, also without TLS."""

    def __init__(
        self,
        resolver: Resolver,
        allowed: Sequence[Network],
        *,
        connect_seconds: float = 5.0,
        seconds: float = 15.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._resolver = resolver
        self._allowed = allowed
        self._connect_seconds = connect_seconds
        self._seconds = seconds
        self._tls = tls

    async def vet(self, url: str) -> None:
        await self._addresses(_endpoint(url))

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        endpoint = _endpoint(url)
        try:
            with anyio.fail_after(self._seconds):
                status = await self._reach(endpoint, headers, body)
        except TimeoutError:
            raise NotDelivered(f"no answer within {self._seconds:g} s") from None
        if 300 <= status < 400:
            raise NotDelivered(f"answered {status}: redirects are not followed, change the URL", status)
        if not 200 <= status < 300:
            raise NotDelivered(f"answered {status}", status)
        return status

    async def _addresses(self, endpoint: Endpoint) -> list[Address]:
        """All of them, each allowed. Refused, NotDelivered."""
        if endpoint.address is not None:
            found = [endpoint.address]
        else:
            found = _parsed(await self._resolver.resolve(endpoint.host, endpoint.port))
        for address in found:
            if why := refusal(address, self._allowed):
                raise Refused(f"{why}: nothing is sent there unless GGNET_WEBHOOK_ALLOW has its network")
            if endpoint.scheme == "http" and not is_allowed(address, self._allowed):
                raise Refused(f"use https: plain http goes only to the networks in GGNET_WEBHOOK_ALLOW, not to {address}")
        return found

    async def _reach(self, endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> int:
        error: NotDelivered | None = None
        for address in await self._addresses(endpoint):
            try:
                return await self._post(endpoint, address, headers, body)
            except httpx.ConnectError as failed:
                error = NotDelivered(_reason(failed))
            except httpx.HTTPError as failed:
                raise NotDelivered(_reason(failed)) from failed
        raise error or NotDelivered(f"{endpoint.host} has no address")

    async def _post(self, endpoint: Endpoint, address: Address, headers: Mapping[str, str], body: bytes) -> int:
        fields = {
            **headers,
            "Host": endpoint.authority,
            "Content-Type": "application/json",
            "User-Agent": _AGENT,
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        verify = await self._context() if endpoint.scheme == "https" else False
        timeout = httpx.Timeout(self._seconds, connect=self._connect_seconds)
        transport = httpx.AsyncHTTPTransport(verify=verify, trust_env=False)
        async with httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False) as client:
            request = httpx.Request(
                "POST",
                endpoint.at(address),
                headers=fields,
                content=body,
                extensions={"sni_hostname": endpoint.host, "timeout": timeout.as_dict()},
            )
            answer = await client.send(request, stream=True)
            try:
                await _drain(answer)
            finally:
                await answer.aclose()
            return answer.status_code

    async def _context(self) -> ssl.SSLContext:
        """The system's authorities; to read them takes a while, so once and in a thread."""
        if self._tls is None:
            self._tls = await anyio.to_thread.run_sync(ssl.create_default_context)
        return self._tls


async def _drain(answer: httpx.Response) -> None:
    """A little of the body, so that a polite receiver can finish; it is kept nowhere, and its failure is none of ours."""
    taken = 0
    with anyio.move_on_after(_ANSWER_SECONDS):
        try:
            async for chunk in answer.aiter_raw(1024):
                taken += len(chunk)
                if taken >= _ANSWER:
                    return
        except httpx.HTTPError:
            return


def _endpoint(url: str) -> Endpoint:
    try:
        return Endpoint.parse(url)
    except ValueError as error:
        raise Refused(str(error)) from None


def _parsed(found: Collection[str]) -> list[Address]:
    try:
        return [plain(text) for text in found]
    except ValueError:
        raise Refused("its name resolves to something that is no address") from None


def _reason(error: httpx.HTTPError) -> str:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return printable(f"TLS: {cause}", 200)
    return next((text for kind, text in _REASONS.items() if isinstance(error, kind)), "it could not be sent")
