"""Which addresses a server that sends what others ask it to send may talk to: the public ones, and what was allowed.

A closed table, after IANA's registries of special-purpose addresses (RFC 6890 and its updates), because what Python calls
private has changed between its releases. Of IPv6 only 2000::/3 is given out (RFC 4291): all else is refused unasked. What
carries an IPv4 address inside is judged by that one too, or 127.0.0.1 would only need another coat.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from manifests.endpoints import Address

Network = IPv4Network | IPv6Network

_SPECIAL = tuple(
    (ip_network(network), name)
    for network, name in {
        "0.0.0.0/8": "of this host",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "of a carrier's NAT",
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "a cloud's metadata service",
        "169.254.0.0/16": "link-local",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved for protocols",
        "192.0.2.0/24": "for documentation",
        "192.88.99.0/24": "of a 6to4 relay",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "for benchmarks",
        "198.51.100.0/24": "for documentation",
        "203.0.113.0/24": "for documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
        "::/128": "of this host",
        "::1/128": "loopback",
        "64:ff9b:1::/48": "of a local NAT64",
        "2001::/23": "reserved for protocols",
        "2001:db8::/32": "for documentation",
        "2002::/16": "6to4",
        "3fff::/20": "for documentation",
        "fc00::/7": "unique-local",
        "fe80::/10": "link-local",
        "ff00::/8": "multicast",
    }.items()
)
_GLOBAL = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def networks(text: str) -> tuple[Network, ...]:
    """``10.1.0.0/16,fd00::/8``. ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def plain(text: str) -> Address:
    """An address as a resolver gives it, an IPv4 one out of its IPv6 coat. ValueError."""
    return _bare(ip_address(text))


def refusal(address: Address, allowed: Sequence[Network] = ()) -> str | None:
    """Why nothing may be sent there, like ``10.0.0.1 is private``; None when it may."""
    kind = None if is_allowed(address, allowed) else _kind(_bare(address))
    return None if kind is None else f"{address} is {kind}"


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether somebody named a network that it lies in."""
    return any(_bare(address) in network for network in allowed)


def _bare(address: Address) -> Address:
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _kind(address: Address) -> str | None:
    if isinstance(address, IPv6Address) and address in _NAT64:
        return _kind(IPv4Address(int(address) & 0xFFFFFFFF))  # an IPv6-only campus reaches the old Internet like this
    for network, name in _SPECIAL:
        if address in network:
            return name
    return "not public" if isinstance(address, IPv6Address) and address not in _GLOBAL else None
