"""What we ask of a boot server: Protocols, each with one real answer and one stand-in for the rules.

Observing never raises for a part that cannot be read: it says so in the snapshot. Acting raises ``EffectRefused`` or
``EffectFailed``, nothing else. Every act is idempotent: done twice, the second does nothing.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from controller.core.steps import (
    CreateOverlay,
    DeleteBootFile,
    DeleteOverlay,
    ImportImage,
    LoadDhcp,
    PublishTarget,
    WithdrawTarget,
    WriteBootFile,
)
from controller.core.world import BootFileState, DhcpState, Golden, Login, PoolState, TargetState
from manifests.types import Iqn


class EffectError(Exception):
    """Something outside did not happen. ``reason`` is one CamelCase word for the condition, ``str()`` the message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EffectRefused(EffectError):
    """It cannot happen until somebody changes something: the message says what."""


class EffectFailed(EffectError):
    """It did not work this time; trying again may."""


@dataclass(frozen=True, slots=True)
class LioState:
    targets: Mapping[Iqn, TargetState]
    foreign: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)


class Lio(Protocol):
    """The kernel's iSCSI target."""

    async def observe(self, iqns: Collection[Iqn] | None) -> LioState:
        """These targets, or with None all of ours and the names of the foreign ones. Absent ones are left out."""

    async def publish(self, action: PublishTarget) -> None: ...

    async def withdraw(self, action: WithdrawTarget) -> None: ...

    async def logins(self, targets: Mapping[Iqn, Iqn]) -> Mapping[Iqn, tuple[Login, str | None]]:
        """Whether each target's initiator (target -> initiator) is logged in, and from which address."""


@dataclass(frozen=True, slots=True)
class PoolView:
    state: PoolState
    unreadable: Mapping[str, str] = field(default_factory=dict)


class Pool(Protocol):
    """Golden images and the sessions' overlays, raw files on one file system."""

    async def observe(self, images: Collection[Golden]) -> PoolView:
        """The whole pool (one listing), and the sources of these images."""

    async def import_image(self, action: ImportImage) -> str:
        """How it was copied: reflink | copy, or unchanged when the source has the newest version's bytes."""

    async def create_overlay(self, action: CreateOverlay) -> str:
        """How it was made: reflink | copy."""

    async def delete_overlay(self, action: DeleteOverlay) -> None: ...


@dataclass(frozen=True, slots=True)
class TftpState:
    files: Mapping[str, BootFileState]
    nbps: Mapping[str, str]
    foreign: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)


class Tftp(Protocol):
    """The part of the TFTP tree that is ours: the folder ``ggnet``. ``nbps`` are the programs that can be copied there."""

    async def observe(self, paths: Collection[str] | None) -> TftpState:
        """These paths, or with None all that lies below ``ggnet``."""

    async def write(self, action: WriteBootFile) -> None: ...

    async def delete(self, action: DeleteBootFile) -> None: ...


class Dhcp(Protocol):
    """The DHCP server that reads our include."""

    async def observe(self) -> DhcpState: ...

    async def load(self, action: LoadDhcp) -> Mapping[str, str]:
        """Hosts that had to be left out, name -> the server's message; all others are answered when this returns."""


class Watch(Protocol):
    """Hints that somebody touched the host."""

    async def run(self, touched: Callable[[frozenset[str]], None]) -> None:
        """Calls ``touched`` with absolute paths below configfs, the TFTP tree or the DHCP include, until cancelled."""
