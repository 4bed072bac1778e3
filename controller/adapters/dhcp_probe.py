"""Is there another DHCP server on the wire? One DHCPDISCOVER (RFC 2131, 4.4.1) is broadcast, and who offers is listed.

Two servers on one wire give a PC now this address and boot program, now that one; nothing else looks as random.
"""

import fcntl
import secrets
import socket
import struct
import time
from contextlib import closing

_SIOCGIFADDR, _SIOCGIFHWADDR = 0x8915, 0x8927
_COOKIE = b"\x63\x82\x53\x63"
_MESSAGE_TYPE, _SERVER_ID, _END, _PAD = 53, 54, 255, 0
_DISCOVER, _OFFER = 1, 2


class ProbeError(Exception):
    """The question could not be asked: another DHCP client holds the port, or there is no permission."""


def interfaces() -> dict[str, str]:
    """Name -> IPv4 address of every interface that has one, loopback left out."""
    found = {}
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asked:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asked, _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:
                continue
            if name != "lo":
                found[name] = socket.inet_ntoa(answer[20:24])
    return found


def offers(interface: str, seconds: float) -> frozenset[str]:
    """The addresses of the servers that answer on this interface within ``seconds``. ProbeError."""
    try:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
            wire.bind(("", 68))
            number = secrets.randbits(32)
            wire.sendto(_discover(_hardware(wire, interface), number), ("255.255.255.255", 67))
            return _collect(wire, number, seconds)
    except OSError as error:
        raise ProbeError(f"{interface}: {error.strerror or error}") from error


def _collect(wire: socket.socket, number: int, seconds: float) -> frozenset[str]:
    found, end = set(), time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            packet, sender = wire.recvfrom(2048)
        except TimeoutError:
            break
        if (server := _server(packet, number)) is not None:
            found.add(server or sender[0])
    return frozenset(found)


def _hardware(wire: socket.socket, interface: str) -> bytes:
    return fcntl.ioctl(wire, _SIOCGIFHWADDR, struct.pack("256s", interface.encode()))[18:24]


def _discover(hardware: bytes, number: int) -> bytes:
    """A discover with the broadcast flag set, from a card that has no address."""
    head = struct.pack("!BBBBIHH16x16s64x128x", 1, 1, 6, 0, number, 0, 0x8000, hardware)
    return head + _COOKIE + bytes([_MESSAGE_TYPE, 1, _DISCOVER, _END])


def _server(packet: bytes, number: int) -> str | None:
    """The server identifier of an offer to this question; empty when it names none, None when it is no such offer."""
    if len(packet) < 240 or packet[0] != 2 or packet[4:8] != number.to_bytes(4, "big") or packet[236:240] != _COOKIE:
        return None
    options, at = {}, 240
    while at + 1 < len(packet) and packet[at] != _END:
        if packet[at] == _PAD:
            at += 1
            continue
        length = packet[at + 1]
        options[packet[at]] = packet[at + 2 : at + 2 + length]
        at += 2 + length
    if options.get(_MESSAGE_TYPE) != bytes([_OFFER]):
        return None
    server = options.get(_SERVER_ID, b"")
    return socket.inet_ntoa(server) if len(server) == 4 else ""
