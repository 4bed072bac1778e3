"""A URL of somebody else's web server, read by one strict grammar.

What different readers take for different hosts is refused instead of read: user names, backslashes, numbers that are
addresses to a resolver (``2130706433``, ``0x7f.1``, ``127.1``, ``0177.0.0.1``), zone ids, trailing dots, letters beyond
ASCII. What is left means the same to everybody, and so to the check and to the connection.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Self

from manifests.types import _Text

_URL = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<six>[0-9a-f:.]{2,45})\]|(?P<host>[a-z0-9.-]{1,253}))(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>(?:/[!$-;=?-\[\]_a-z~]*)?(?:\?[!$-;=?-\[\]_a-z~]*)?)",
    re.ASCII | re.IGNORECASE,
).fullmatch
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII).fullmatch
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII).fullmatch
_PORTS = {"http": 80, "https": 443}
LONGEST = 2048
Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``target`` is path and query; ``address`` is set where the host is written as one."""

    scheme: str
    host: str
    port: int
    target: str
    address: Address | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """ValueError that says what is wrong with it, without repeating it: the path may hold a secret."""
        found = _URL(text) if len(text) <= LONGEST else None
        if found is None:
            raise ValueError(
                "write it like https://host.example/path: ASCII, no user name, no fragment, at most 2048 characters"
            )
        scheme = found["scheme"].lower()
        port = int(found["port"] or _PORTS[scheme])
        if port not in _PORTS.values() and not 1024 <= port <= 65535:
            raise ValueError(f"port {port} is another service's: 80, 443, or 1024 to 65535")
        target = found["target"] if found["target"].startswith("/") else f"/{found['target']}"
        if found["six"] is not None:
            return cls(scheme, found["six"].lower(), port, target, _six(found["six"]))
        host = found["host"].lower()
        return cls(scheme, host, port, target, _four(host))

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, address: Address) -> str:
        """The URL with the address in the place of the name: nothing is left to be resolved."""
        literal = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        return f"{self.scheme}://{literal}:{self.port}{self.target}"


class HttpsUrl(_Text):
    """Where a file is fetched from: what nobody on the way may read or change."""

    __slots__ = ()
    pattern = r"^https://[A-Za-z0-9.:\[\]-]+([/?][!$-;=?-\[\]_a-z~]*)?$"
    example = "https://images.example/win11.vhdx"

    @classmethod
    def parse(cls, text: object) -> Self:
        """ValueError, which does not repeat it: what follows a question mark may be a secret."""
        if not isinstance(text, str):
            raise ValueError("a URL is a text, like https://images.example/win11.vhdx")
        found = Endpoint.parse(text)
        if found.scheme != "https":
            raise ValueError("only https is fetched: over plain http anybody on the way could read and change it")
        return str.__new__(cls, f"https://{found.authority}{found.target}")


def _six(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except AddressValueError:
        raise ValueError("the address in brackets is not one of IPv6") from None


def _four(host: str) -> IPv4Address | None:
    """The address, or None for a name. ValueError for what is neither, or both to somebody."""
    labels = host.split(".")
    if _NUMBER(labels[-1]):
        try:
            return IPv4Address(host)
        except AddressValueError:
            raise ValueError("the host is a number: write an IPv4 address as four decimal numbers") from None
    if not all(map(_LABEL, labels)):
        raise ValueError("the host is not a DNS name (RFC 1123), or it ends with a dot")
    return None
