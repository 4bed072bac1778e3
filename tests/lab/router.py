"""The wire's IPv6 router: it says that there is no IPv6 to be had here (RFC 4861, section 4.2).

Without any answer iPXE goes on asking for 15 seconds before it boots by IPv4. Run as a program on the wire.

    router.py INTERFACE
"""

import socket
import struct
import sys

_ALL_NODES, _ALL_ROUTERS = "ff02::1", "ff02::2"
_SOLICITATION, _ADVERTISEMENT = 133, 134
# Type, code, a checksum that the kernel fills in, hop limit, no flags, a lifetime of 0 (no default router), no timers.
_NOTHING = struct.pack("!BBHBBHII", _ADVERTISEMENT, 0, 0, 64, 0, 0, 0, 0)


def main(interface: str) -> None:
    number = socket.if_nametoindex(interface)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as wire:
        group = socket.inet_pton(socket.AF_INET6, _ALL_ROUTERS) + struct.pack("@I", number)
        wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)  # others are not believed
        while True:
            if wire.recv(1500)[0] == _SOLICITATION:
                wire.sendto(_NOTHING, (_ALL_NODES, 0, 0, number))


if __name__ == "__main__":
    main(sys.argv[1])
