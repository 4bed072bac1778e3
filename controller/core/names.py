"""Every name that we make outside, and the way back from it.

Names are functions of the object, never of a record, so that creating is retryable after a crash with no memory.
What carries one of these names is ours; everything else is foreign. ``parse_x(x(...))`` gives the parts back.
"""

import hashlib
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from manifests.disks import SYSTEM_DISK as SYSTEM_DISK
from manifests.types import Iqn

_MEMORY = 1 << 17
_NAMESPACE = uuid.UUID("6a1f5f0e-64c3-5d0c-9f0e-0d1f0b6d7c55")
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_OVERLAY = re.compile(rf"({_LABEL})\.([a-z0-9]+)\+({_LABEL})@v([1-9][0-9]{{0,8}})\+([0-9a-f-]{{36}})\.(raw|cow)", re.ASCII)
_GOLDEN = re.compile(rf"({_LABEL})@v([1-9][0-9]{{0,8}})\.raw", re.ASCII)
_DISK = re.compile(rf"({_LABEL})\.([a-z0-9]+)", re.ASCII)
_DEVICE = re.compile(rf"ggnet\+({_LABEL})\.([a-z0-9]+)\+([0-9a-f-]{{36}})\+[0-9a-f]{{8}}", re.ASCII)
_BACKSTORE = re.compile(rf"ggnet-({_LABEL})-([a-z0-9]+)", re.ASCII)
_SCRIPT = re.compile(r"ggnet/machines/((?:[0-9a-f]{2}-){5}[0-9a-f]{2})\.ipxe", re.ASCII)

BOOT_FOLDER = "ggnet"
MACHINES_FOLDER = "ggnet/machines"
BOOT_SCRIPT = "ggnet/boot.ipxe"
GOLDEN_FOLDER = "images"
OVERLAY_FOLDER = "overlays"
DEVICE_FOLDER = "/dev/mapper"

Form = Literal["raw", "cow"]
"""A whole disk in a file, or the store of what differs from the image: a snapshot's."""


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
    form: Form = "raw"

    def __str__(self) -> str:
        return f"{self.machine}.{self.disk}+{self.image}@v{self.version}+{self.uid}.{self.form}"

    @property
    def device(self) -> str:
        """A snapshot's name in the kernel's device-mapper, which takes 127 characters: whose it is in full, and the rest
        as a digest."""
        digest = hashlib.sha256(str(self).encode()).hexdigest()[:8]
        return f"ggnet+{self.machine}.{self.disk}+{self.uid}+{digest}"

    @property
    def exported(self) -> str:
        """The last segment of the path that a target exports."""
        return self.device if self.form == "cow" else str(self)

    @classmethod
    def parse(cls, text: str) -> "OverlayName | None":
        return _overlay(text)


@lru_cache(_MEMORY)
def _overlay(text: str) -> OverlayName | None:
    match = _OVERLAY.fullmatch(text)
    return OverlayName(match[1], match[2], match[3], int(match[4]), match[5], _form(match[6])) if match else None


def _form(text: str) -> Form:
    return "cow" if text == "cow" else "raw"


def carried(overlays: Iterable[str]) -> dict[str, set[int]]:
    """The versions of each image that one of these overlays is of."""
    found: dict[str, set[int]] = {}
    for name in filter(None, map(_overlay, overlays)):
        found.setdefault(name.image, set()).add(name.version)
    return found


def session_of(exported: str) -> str | None:
    """The uid of the session whose overlay this is, from the last segment of the path that a target exports."""
    device = _DEVICE.fullmatch(exported)
    overlay = _overlay(exported)
    return device[3] if device else overlay.uid if overlay else None


def is_device(name: str) -> bool:
    """Whether a device of the device-mapper has a name of ours."""
    return _DEVICE.fullmatch(name) is not None


def device_machine(name: str) -> str | None:
    """The machine of a device of ours."""
    match = _DEVICE.fullmatch(name)
    return match[1] if match else None


def golden(image: str, version: int) -> str:
    return f"{image}@v{version}.raw"


def parse_golden(text: str) -> tuple[str, int] | None:
    match = _GOLDEN.fullmatch(text)
    return (match[1], int(match[2])) if match else None


def golden_path(pool: str, image: str, version: int) -> str:
    """Where the pool at ``pool`` (absolute, no slash at its end) holds an imported version."""
    return f"{pool}/{GOLDEN_FOLDER}/{golden(image, version)}"


def overlay_path(pool: str, name: OverlayName) -> str:
    """What a target exports of an overlay of the pool at ``pool``."""
    return f"{DEVICE_FOLDER}/{name.device}" if name.form == "cow" else overlay_file(pool, name)


def overlay_file(pool: str, name: OverlayName) -> str:
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
