"""What we ask of a boot server: Protocols, each with one real answer and one stand-in for the rules.

Observing never raises for a part that cannot be read: it says so in the snapshot. Acting raises ``EffectRefused`` or
``EffectFailed``, nothing else. Every act is idempotent: done twice, the second does nothing.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from controller.core.desired import Client, Golden
from controller.core.observed import BootFileState, CredentialState, DhcpState, Login, PoolState, TargetState
from controller.core.phases import Phase
from controller.core.steps import (
    ActivateOverlay,
    CommitOverlay,
    CreateOverlay,
    DeleteBootFile,
    DeleteOverlay,
    DeleteVersion,
    DiscardSource,
    ImportImage,
    LoadDhcp,
    NoteUse,
    PublishTarget,
    ReleaseVersion,
    WithdrawTarget,
    WriteBootFile,
)
from manifests.types import Iqn


class EffectError(Exception):
    """Something outside did not happen. ``reason`` is one CamelCase word for the condition, ``str()`` the message; before
    ``again`` seconds have gone by it is in vain to try once more, where that is known."""

    def __init__(self, reason: str, message: str, again: float | None = None) -> None:
        super().__init__(message)
        self.reason, self.again = reason, again


class EffectRefused(EffectError):
    """It cannot happen until somebody changes something: the message says what."""


class EffectFailed(EffectError):
    """It did not work this time; trying again may."""


class EffectUnderway(EffectError):
    """It was begun, and goes on: the message says how far it is, ``phase`` what its object is in meanwhile."""

    def __init__(self, phase: Phase, message: str) -> None:
        super().__init__(phase, message)
        self.phase = phase


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


@dataclass(frozen=True, slots=True)
class Fetched:
    """How far a download is: ``done`` bytes, of how many where the server told that, and what it waits for."""

    done: int = 0
    total: int | None = None
    waits: str = ""


class Pool(Protocol):
    """Golden images and the sessions' overlays, on one file system."""

    async def observe(self, images: Collection[Golden], machines: Collection[str] | None = None) -> PoolView:
        """The pool, of its overlays those of these machines (None: all), and the sources of these images."""

    async def import_image(self, action: ImportImage, told: Callable[[float], None] = lambda part: None) -> str:
        """How it was made: reflink | copy, or unchanged when the source has the newest version's bytes.

        ``told`` is called, in any thread, with the part of it that is done, 0 to 1.
        """

    async def delete_version(self, action: DeleteVersion) -> int:
        """How many bytes it took. Never one that a private disk is of, is being made of, or that anybody has open."""

    async def note_use(self, action: NoteUse) -> None: ...

    async def release_version(self, action: ReleaseVersion) -> None: ...

    async def fetch_source(self, action: ImportImage, told: Callable[[Fetched], None]) -> None:
        """What its URL leads to is in the pool, on from where it stood; ``import_image`` takes it from there. A source
        that is not fetched is left alone."""

    async def discard_source(self, action: DiscardSource) -> None:
        """With all that is left of a download; never an upload that no version was made of."""

    async def create_overlay(self, action: CreateOverlay) -> str:
        """How it was made: reflink | snapshot | copy."""

    async def activate_overlay(self, action: ActivateOverlay) -> None: ...

    async def commit_overlay(self, action: CommitOverlay, told: Callable[[float], None] = lambda part: None) -> str:
        """How the version was made: reflink | copy. Only of an overlay that nothing exports. ``told`` as above."""

    async def delete_overlay(self, action: DeleteOverlay) -> None:
        """Never one that a target of the kernel still stands on."""


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


@dataclass(frozen=True, slots=True)
class ChapState:
    """As of ``Observed``: ``credentials`` by name, and ``closed``, address -> why nobody listens there."""

    credentials: Mapping[str, CredentialState]
    closed: Mapping[str, str] = field(default_factory=dict)


class Chap(Protocol):
    """The secrets of PCs, and the door at which each is told its own. No secret ever passes through here."""

    async def observe(self, credentials: Collection[str]) -> ChapState: ...

    def admit(self, clients: Mapping[str, Client]) -> None:
        """Whose PC is told its secret from now on: the machines that have one, by name."""

    async def run(self, changed: Callable[[], None]) -> None:
        """The door, until cancelled; ``changed`` is called when one opens or cannot be opened."""


class Watch(Protocol):
    """Hints that somebody touched the host."""

    async def run(self, touched: Callable[[frozenset[str]], None]) -> None:
        """Calls ``touched`` with absolute paths below configfs, the TFTP tree or the DHCP include, until cancelled."""
