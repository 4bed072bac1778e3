"""Webhooks on their way: one request a delivery. Redirects are failures, and of the answer only the status counts."""

import ssl
from collections.abc import Mapping, Sequence

import anyio
import httpx

from controller.adapters.outbound import Outbound, reason
from controller.core.addresses import Network
from controller.ports.notices import NotDelivered, Refused, Resolver
from manifests.endpoints import Endpoint

_ANSWER = 4096
_ANSWER_SECONDS = 1.0  # what comes after the status is of no interest; a receiver that has not ended is cut
_FIELDS = {"Content-Type": "application/json", "User-Agent": "GGnet-Webhooks/1"}


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
        self._outbound = Outbound(
            resolver,
            allowed,
            "GGNET_WEBHOOK_ALLOW",
            connect_seconds=connect_seconds,
            authorities=lambda: tls or ssl.create_default_context(),
        )
        self._seconds = seconds

    async def vet(self, url: str) -> None:
        await self._outbound.addresses(_endpoint(url))

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

    async def _reach(self, endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> int:
        try:
            async with self._outbound.asked("POST", endpoint, {**headers, **_FIELDS}, self._seconds, body) as answer:
                await _drain(answer)
                return answer.status_code
        except httpx.HTTPError as failed:
            raise NotDelivered(reason(failed)) from failed


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
