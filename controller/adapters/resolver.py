"""Names to addresses, as this host's resolver has them."""

import socket
from collections.abc import Collection

import anyio

from controller.ports.notices import NotDelivered


class SystemResolver:
    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds

    async def resolve(self, host: str, port: int) -> Collection[str]:
        try:
            with anyio.fail_after(self._seconds):
                found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as error:  # gaierror is an OSError
            raise NotDelivered(f"{host} does not resolve") from error
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
