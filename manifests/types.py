"""Values with an invariant: parsed once at the edge, one spelling ever after.

Each type is a subclass of a builtin, so it prints, compares and stores as what it is; what it adds is that no
other spelling of it can exist. Only these types may reach dhcpd.conf, an iPXE script, a path or configfs, which is
why each grammar is an allow-list. Every parser is idempotent: ``parse(str(parse(x))) == parse(x)``.
"""

import ipaddress
import re
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class _Text(str):
    """A string that is only ever made by its parser."""

    __slots__ = ()
    pattern: str = ""
    example: str = ""

    @classmethod
    def parse(cls, text: object) -> Self:
        raise ValueError(f"not a {cls.__name__}: {text!r}")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shape: JsonSchemaValue = {"type": "string"}
        if cls.pattern:
            shape["pattern"] = cls.pattern
        if cls.example:
            shape["examples"] = [cls.example]
        return shape


def shown(value: object) -> str:
    """The value as it may stand in an error message: quoted, escaped, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Name(_Text):
    """An object's name: a DNS label (RFC 1123), 1 to 63 of ``a-z 0-9 -``, a letter or digit at both ends."""

    __slots__ = ()
    pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
    example = "pc07"
    _match = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not cls._match(text):
            raise ValueError(f"{shown(text)} is not a name: 1 to 63 of a-z, 0-9 and '-', not at either end (RFC 1123)")
        return str.__new__(cls, text)


class Mac(_Text):
    """An Ethernet address, kept as ``52:54:00:00:00:07``; colons, hyphens, dots and bare hex are read (IEEE 802)."""

    __slots__ = ()
    pattern = r"^([0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}(\.[0-9A-Fa-f]{4}){2}|[0-9A-Fa-f]{12})$"
    example = "52:54:00:00:00:07"
    _match = re.compile(pattern, re.ASCII).fullmatch

    _kept = re.compile("[0-9a-f][02468ace](?::[0-9a-f]{2}){5}", re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if isinstance(text, str) and cls._kept(text) and text != "00:00:00:00:00:00":
            return str.__new__(cls, text)
        if not isinstance(text, str) or not cls._match(text):
            raise ValueError(f"{shown(text)} is not a MAC address: write it like 52:54:00:00:00:07")
        digits = re.sub(r"[^0-9a-f]", "", text.lower())
        if int(digits[:2], 16) & 1:
            raise ValueError(f"{shown(text)} is a multicast address: a network card never has one")
        if digits == "0" * 12:
            raise ValueError("00:00:00:00:00:00 is nobody's address")
        return str.__new__(cls, ":".join(digits[i : i + 2] for i in range(0, 12, 2)))

    @property
    def hyphens(self) -> str:
        """The spelling of iPXE's ``${netX/mac:hexhyp}``: ``52-54-00-00-00-07``."""
        return self.replace(":", "-")


_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"


class Ipv4(_Text):
    """An IPv4 address in dotted decimal, no leading zeros (RFC 6943, 3.1.1)."""

    __slots__ = ()
    pattern = rf"^({_OCTET}\.){{3}}{_OCTET}$"
    example = "10.77.0.57"
    _match = re.compile(pattern, re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not cls._match(text):
            raise ValueError(f"{shown(text)} is not an IPv4 address: write it like 10.77.0.57")
        return str.__new__(cls, text)

    def __int__(self) -> int:
        a, b, c, d = map(int, self.split("."))
        return a << 24 | b << 16 | c << 8 | d


class Cidr(_Text):
    """An IPv4 network with no host bits, ``10.77.0.0/24``, between /8 and /30, of addresses that a PC can have."""

    __slots__ = ()
    pattern = rf"^({_OCTET}\.){{3}}{_OCTET}/([89]|[12][0-9]|30)$"
    example = "10.77.0.0/24"
    _match = re.compile(pattern, re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not cls._match(text):
            raise ValueError(f"{shown(text)} is not an IPv4 network: write it like 10.77.0.0/24, between /8 and /30")
        network = ipaddress.IPv4Network(text, strict=False)
        if str(network) != text:
            raise ValueError(f"{shown(text)} has host bits set: the network is {network}")
        if network.is_multicast or text.startswith("0.") or int(network.network_address) >= 0xF0000000:
            raise ValueError(f"{text} holds no address that a PC can have")
        return str.__new__(cls, text)

    @property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(str(self))

    @property
    def ends(self) -> tuple[Ipv4, Ipv4]:
        """The network's own address and its broadcast address: nobody's."""
        network = self.network
        return Ipv4.parse(str(network.network_address)), Ipv4.parse(str(network.broadcast_address))

    def __contains__(self, address: object) -> bool:
        return ipaddress.IPv4Address(str(address)) in self.network


class Iqn(_Text):
    """An iSCSI qualified name (RFC 7143, 4.2.7.5), narrowed to what LIO, rtslib and iPXE all take.

    ``iqn.yyyy-mm.reversed.domain[:rest]``, lower case, at most 223 bytes, of ``a-z 0-9 . : -``; the domain has a dot,
    because rtslib fails on the whole tree when one name in it has none.
    """

    __slots__ = ()
    pattern = r"^iqn\.[0-9]{4}-(0[1-9]|1[0-2])(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?){2,}(:[a-z0-9.:-]+)?$"
    example = "iqn.2026-01.internal.ggnet:lab:client:pc07"
    _match = re.compile(pattern, re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or len(text) > 223 or not cls._match(text):
            raise ValueError(f"{shown(text)} is not an IQN: iqn.yyyy-mm.reversed.domain:rest, lower case, at most 223")
        return str.__new__(cls, text)


class Hostname(Name):
    """What option 12 carries: one DNS label (RFC 1123)."""

    __slots__ = ()


class Domain(_Text):
    """A DNS domain: labels joined by dots, lower case, at most 253 characters (RFC 1035)."""

    __slots__ = ()
    pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"
    example = "lab.example.net"
    _match = re.compile(pattern, re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or len(text) > 253 or not cls._match(text):
            raise ValueError(f"{shown(text)} is not a domain name: lower-case labels joined by dots")
        return str.__new__(cls, text)


class _Number(int):
    """An integer of one unit, written with a suffix; prints as the shortest exact spelling."""

    __slots__ = ()
    units: ClassVar[dict[str, int]] = {}
    most: ClassVar[int] = 0
    pattern = ""
    example = ""

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,14})([A-Za-z]*)", value, re.ASCII) if isinstance(value, str) else None
        if not match or match[2] not in cls.units:
            wanted = ", ".join(unit for unit in cls.units if unit)
            raise ValueError(
                f"{shown(value)} is not a {cls.__name__.lower()}: a number with one of {wanted}, like {cls.example}"
            )
        number = int.__new__(cls, int(match[1]) * cls.units[match[2]])
        if number > cls.most:
            raise ValueError(f"{shown(value)} is more than the largest {cls.__name__.lower()}, {cls(cls.most)}")
        return number

    def __str__(self) -> str:
        for unit, factor in sorted(self.units.items(), key=lambda item: -item[1]):
            if unit and self % factor == 0:
                return f"{self // factor}{unit}"
        return str(int(self))

    __repr__ = __str__

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": cls.pattern, "examples": [cls.example]}


class Size(_Number):
    """A number of bytes, written with a binary suffix: ``20GiB``."""

    __slots__ = ()
    most: ClassVar[int] = 1 << 60
    units: ClassVar[dict[str, int]] = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
    pattern = r"^[1-9][0-9]{0,14}(B|KiB|MiB|GiB|TiB)$"
    example = "20GiB"


class Duration(_Number):
    """A number of seconds, written with a suffix: ``8h``."""

    __slots__ = ()
    most: ClassVar[int] = 3650 * 86400
    units: ClassVar[dict[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    pattern = r"^[1-9][0-9]{0,14}(s|m|h|d)$"
    example = "8h"
