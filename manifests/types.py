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

    @classmethod
    def parse(cls, text: object) -> Self:
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


class Ipv4(_Text):
    """An IPv4 address in dotted decimal, no leading zeros (RFC 6943, 3.1.1)."""

    __slots__ = ()
    pattern = r"^(\d{1,3}\.){3}\d{1,3}$"
    example = "10.77.0.57"

    @classmethod
    def parse(cls, text: object) -> Self:
        try:
            if not isinstance(text, str):
                raise ValueError
            return str.__new__(cls, ipaddress.IPv4Address(text))
        except ValueError:
            raise ValueError(f"{shown(text)} is not an IPv4 address: write it like 10.77.0.57") from None

    def __int__(self) -> int:
        return int(ipaddress.IPv4Address(str(self)))


class Cidr(_Text):
    """An IPv4 network with no host bits, ``10.77.0.0/24``, between /8 and /30."""

    __slots__ = ()
    pattern = r"^(\d{1,3}\.){3}\d{1,3}/\d{1,2}$"
    example = "10.77.0.0/24"

    @classmethod
    def parse(cls, text: object) -> Self:
        try:
            if not isinstance(text, str) or "/" not in text:
                raise ValueError
            network = ipaddress.IPv4Network(text)
        except ValueError:
            raise ValueError(f"{shown(text)} is not an IPv4 network: write it like 10.77.0.0/24, host bits zero") from None
        if not 8 <= network.prefixlen <= 30:
            raise ValueError(f"{shown(text)} is too large or too small: a network is between /8 and /30")
        return str.__new__(cls, network)

    @property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(str(self))

    def __contains__(self, address: object) -> bool:
        return ipaddress.IPv4Address(str(address)) in self.network


class Iqn(_Text):
    """An iSCSI qualified name (RFC 7143, 4.2.7.5), narrowed to what LIO, rtslib and iPXE all take.

    ``iqn.yyyy-mm.reversed-domain[:rest]``, lower case, at most 223 bytes, of ``a-z 0-9 . : -``.
    """

    __slots__ = ()
    pattern = r"^iqn\.[0-9]{4}-(0[1-9]|1[0-2])\.[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[a-z0-9.:-]+)?$"
    example = "iqn.2026-01.internal.ggnet:lab:client:pc07"
    _match = re.compile(pattern, re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or len(text) > 223 or not cls._match(text) or text.endswith("\n"):
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
        if not isinstance(text, str) or len(text) > 253 or not cls._match(text) or text.endswith("\n"):
            raise ValueError(f"{shown(text)} is not a domain name: lower-case labels joined by dots")
        return str.__new__(cls, text)


class _Number(int):
    """An integer of one unit, written with a suffix; prints as the shortest exact spelling."""

    __slots__ = ()
    units: ClassVar[dict[str, int]] = {}
    pattern = ""
    example = ""

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        match = re.fullmatch(r"([0-9]{1,15})([A-Za-z]*)", value, re.ASCII) if isinstance(value, str) else None
        if not match or match[2] not in cls.units or int(match[1]) == 0:
            wanted = ", ".join(unit for unit in cls.units if unit)
            raise ValueError(
                f"{shown(value)} is not a {cls.__name__.lower()}: a number with one of {wanted}, like {cls.example}"
            )
        return int.__new__(cls, int(match[1]) * cls.units[match[2]])

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
    units: ClassVar[dict[str, int]] = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
    pattern = r"^[0-9]{1,15}(B|KiB|MiB|GiB|TiB)$"
    example = "20GiB"


class Duration(_Number):
    """A number of seconds, written with a suffix: ``8h``."""

    __slots__ = ()
    units: ClassVar[dict[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    pattern = r"^[0-9]{1,15}(s|m|h|d)$"
    example = "8h"
