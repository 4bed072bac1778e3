"""Whose request it is: the address at the other end, through the proxies that are configured and no others.

Anybody can write ``X-Forwarded-For``; each proxy appends whom it heard. So it is read from the right, and only as far as
configured proxies vouch for it: the first address that is none of theirs is the client.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Networks = Sequence[IPv4Network | IPv6Network]
_HOPS = 16


def address(scope: Scope, proxies: Networks) -> str:
    """As text in its one spelling; empty for a client without one (a Unix socket)."""
    peer = (scope.get("client") or ("", 0))[0]
    found = _parse(peer) if proxies else None
    if found is None or not _among(found, proxies):
        return _spelled(peer)
    for hop in _forwarded(scope):
        claimed = _parse(hop)
        if claimed is None:
            break  # what stands left of nonsense is vouched for by nobody
        found = claimed
        if not _among(found, proxies):
            break
    return str(found)


def encrypted(scope: Scope, proxies: Networks) -> bool:
    """Whether the client came over TLS: to us, or to the configured proxy that asks for it."""
    if scope["scheme"] in ("https", "wss"):
        return True
    peer = _parse((scope.get("client") or ("", 0))[0]) if proxies else None
    if peer is None or not _among(peer, proxies):
        return False
    told = next((value for name, value in reversed(scope["headers"]) if name == b"x-forwarded-proto"), b"")
    return bool(told.rpartition(b",")[2].strip().lower() == b"https")


def network(text: str) -> str:
    """What one client holds: its IPv4 address, or the /64 of its IPv6 address (RFC 6177: a site has at least that)."""
    found = _parse(text)
    return str(IPv6Network((found, 64), strict=False)) if isinstance(found, IPv6Address) else _spelled(text)


def _forwarded(scope: Scope) -> Iterator[str]:
    """The last hops, from the right; several headers are one list (RFC 9110, 5.3)."""
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = b",".join(values).decode("latin-1").rsplit(",", _HOPS)
    yield from (hop.strip() for hop in reversed(hops[-_HOPS:]))


@lru_cache(maxsize=4096)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """``192.0.2.7``, ``192.0.2.7:4711``, ``2001:db8::7``, ``[2001:db8::7]:4711``."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


@lru_cache(maxsize=4096)
def _spelled(text: str) -> str:
    found = _parse(text)
    return text if found is None else str(found)


def _among(found: IPv4Address | IPv6Address, networks: Networks) -> bool:
    return any(found in one for one in networks)
