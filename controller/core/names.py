"""Every name that we make outside, and the way back from it.

Names are functions of the object, never of a record, so that creating is retryable after a crash with no memory.
What carries one of these names is ours; everything else is foreign. ``parse_x(x(...))`` gives the parts back.
"""

import re
import uuid
from dataclasses import dataclass
from functools import lru_cache

from manifests.types import Iqn

SYSTEM_DISK = "os"
_MEMORY = 1 << 17
_NAMESPACE = uuid.UUID("6a1f5f0e-64c3-5d0c-9f0e-0d1f0b6d7c55")
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_OVERLAY = re.compile(rf"({_LABEL})\.([a-z0-9]+)\+({_LABEL})@v([1-9][0-9]{{0,8}})\+([0-9a-f-]{{36}})\.raw", re.ASCII)
_GOLDEN = re.compile(rf"({_LABEL})@v([1-9][0-9]{{0,8}})\.raw", re.ASCII)
_DISK = re.compile(rf"({_LABEL})\.([a-z0-9]+)", re.ASCII)
_BACKSTORE = re.compile(rf"ggnet-({_LABEL})-([a-z0-9]+)", re.ASCII)
_SCRIPT = re.compile(r"ggnet/machines/((?:[0-9a-f]{2}-){5}[0-9a-f]{2})\.ipxe", re.ASCII)

BOOT_FOLDER = "ggnet"
MACHINES_FOLDER = "ggnet/machines"
BOOT_SCRIPT = "ggnet/boot.ipxe"
GOLDEN_FOLDER = "images"
OVERLAY_FOLDER = "overlays"


@dataclass(frozen=True, slots=True)
class Site:
    """What makes our names ours: the IQN prefix, the site, this boot server's name."""

    prefix: str = "iqn.2026-01.internal.ggnet"
    site: str = "default"
    server: str = "default"

    def target(self, machine: str, disk: str = SYSTEM_DISK) -> Iqn:
        return _iqn(f"{self.prefix}:{self.site}:{machine}.{disk}")

    def initiator(self, machine: str) -> Iqn:
        return Iqn.parse(f"{self.prefix}:{self.site}:client:{machine}")

    def parse_target(self, iqn: str) -> tuple[str, str] | None:
        """``(machine, disk)`` of a target of ours; None for a foreign one."""
        head = f"{self.prefix}:{self.site}:"
        match = _DISK.fullmatch(iqn, len(head)) if iqn.startswith(head) else None
        return (match[1], match[2]) if match else None

    def serial(self, machine: str, disk: str = SYSTEM_DISK) -> str:
        """T10 unit serial, the same for ever: Windows takes a new one for a new disk (UUIDv5, RFC 9562)."""
        return _serial(self.site, machine, disk)


# These are asked for every machine in every sweep, always with the same answers.
@lru_cache(_MEMORY)
def _iqn(text: str) -> Iqn:
    return Iqn.parse(text)


@lru_cache(_MEMORY)
def _serial(site: str, machine: str, disk: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{site}/{machine}/{disk}"))


def backstore(machine: str, disk: str = SYSTEM_DISK) -> str:
    return f"ggnet-{machine}-{disk}"


def parse_backstore(name: str) -> tuple[str, str] | None:
    match = _BACKSTORE.fullmatch(name)
    return (match[1], match[2]) if match else None


@dataclass(frozen=True, slots=True)
class OverlayName:
    """An overlay's file name says all that a restart must know: whose, of which image and version, of which session."""

    machine: str
    disk: str
    image: str
    version: int
    uid: str

    def __str__(self) -> str:
        return f"{self.machine}.{self.disk}+{self.image}@v{self.version}+{self.uid}.raw"

    @classmethod
    def parse(cls, text: str) -> "OverlayName | None":
        return _overlay(text)


@lru_cache(_MEMORY)
def _overlay(text: str) -> OverlayName | None:
    match = _OVERLAY.fullmatch(text)
    return OverlayName(match[1], match[2], match[3], int(match[4]), match[5]) if match else None


def golden(image: str, version: int) -> str:
    return f"{image}@v{version}.raw"


def parse_golden(text: str) -> tuple[str, int] | None:
    match = _GOLDEN.fullmatch(text)
    return (match[1], int(match[2])) if match else None


def golden_path(pool: str, image: str, version: int) -> str:
    """Where the pool at ``pool`` (absolute, no slash at its end) holds an imported version."""
    return f"{pool}/{GOLDEN_FOLDER}/{golden(image, version)}"


def overlay_path(pool: str, name: OverlayName) -> str:
    return f"{pool}/{OVERLAY_FOLDER}/{name}"


def script(mac_hyphens: str) -> str:
    return f"{MACHINES_FOLDER}/{mac_hyphens}.ipxe"


def parse_script(path: str) -> str | None:
    """The MAC, with hyphens, of a boot script's path."""
    match = _SCRIPT.fullmatch(path)
    return match[1] if match else None


def dhcp_host(machine: str, card: int) -> str:
    """The host declaration's name in dhcpd.conf; our prefix keeps it apart from the administrator's."""
    return f"ggnet-{machine}-{card}"


def controller_lease(server: str) -> str:
    """The lease row that says which controller may write on this boot server."""
    return f"controller/{server}"
