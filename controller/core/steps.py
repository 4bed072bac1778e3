"""The closed set of things that GGnet ever does to a host, and how each may end.

A step is data: the planner makes it, a plan shows it, the executor does it and has nothing left to choose.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.core.desired import DhcpConfig, Origin, Target, identity, label
from controller.core.names import OverlayName
from controller.core.phases import Phase
from manifests.types import Iqn


class Effect(StrEnum):
    """What a running PC feels: nothing, something at its next boot, a cut, or the loss of what it wrote."""

    NONE = "none"
    NEXT_BOOT = "next-boot"
    DISRUPTIVE = "disruptive"
    DATA_LOSS = "data-loss"


@dataclass(frozen=True, slots=True)
class ImportImage:
    """Make ``image``'s next version from its source: inspect, copy or convert, hash, mark complete.

    The rest as of ``Golden``; ``parent`` is the version before it.
    """

    image: str
    version: int
    source: str
    format: str = "auto"
    origin: Origin = "path"
    sha256: str | None = None
    author: str | None = None
    comment: str | None = None
    parent: int | None = None

    @property
    def identity(self) -> str:
        return identity(self.origin, self.source, self.sha256)

    @property
    def label(self) -> str:
        return label(self.origin, self.source)


@dataclass(frozen=True, slots=True)
class DiscardSource:
    """Remove an upload of which a version is there, or a download that nobody asks for any more (see ``identity``)."""

    identity: str


@dataclass(frozen=True, slots=True)
class DeleteVersion:
    """Take a version that nothing stands on out of the pool."""

    image: str
    version: int


@dataclass(frozen=True, slots=True)
class NoteUse:
    """Note that a version is in use today, though it has no private disk."""

    image: str
    version: int


@dataclass(frozen=True, slots=True)
class ReleaseVersion:
    """Note with a version that its Image was deleted, and that it may go after the day ``until`` (since 1970); with 0 that
    it is declared again."""

    image: str
    version: int
    until: int


@dataclass(frozen=True, slots=True)
class CreateOverlay:
    """Clone a golden version into a session's own disk. ``limit``, ``durable``: as of ``OverlayFile``, for a snapshot."""

    name: OverlayName
    size: int
    limit: int | None = None
    durable: bool = False


@dataclass(frozen=True, slots=True)
class ActivateOverlay:
    """Bring a snapshot that is there to where it can be served: its device in the kernel, its store not smaller than for
    ``limit``, written through or not, and taking writes again if it had run full."""

    name: OverlayName
    limit: int
    durable: bool = False


@dataclass(frozen=True, slots=True)
class CommitOverlay:
    """Make an overlay that nobody writes to the next version of its image; the overlay stays as it is.

    ``identity`` is what the version is known by (see ``Golden``), ``session`` whose it is; the rest as of ``OverlayFile``
    and ``ImportImage``.
    """

    name: OverlayName
    version: int
    identity: str
    session: str
    limit: int | None = None
    durable: bool = False
    author: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteOverlay:
    name: OverlayName


@dataclass(frozen=True, slots=True)
class PublishTarget:
    """Bring one target, whatever half-state it is in, to its facts; ``cut`` allows it under a live initiator."""

    target: Target
    cut: bool = False


@dataclass(frozen=True, slots=True)
class WithdrawTarget:
    """Take one target and its backstore out of the kernel; ``cut`` allows it under a live initiator."""

    iqn: Iqn
    cut: bool = False


@dataclass(frozen=True, slots=True)
class WriteBootFile:
    """A file below the TFTP root: its whole text, or a copy of the network boot program named by ``nbp``."""

    path: str
    text: str | None = None
    nbp: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteBootFile:
    path: str


@dataclass(frozen=True, slots=True)
class LoadDhcp:
    """Make the running dhcpd answer from this configuration."""

    config: DhcpConfig
    generation: int


Action = (
    ImportImage
    | DeleteVersion
    | NoteUse
    | ReleaseVersion
    | CreateOverlay
    | ActivateOverlay
    | CommitOverlay
    | DeleteOverlay
    | PublishTarget
    | WithdrawTarget
    | WriteBootFile
    | DeleteBootFile
    | LoadDhcp
    | DiscardSource
)


@dataclass(frozen=True, slots=True)
class Change:
    """One field, before -> after; None is absent."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """An action with everything that a person or the executor needs to know of it.

    ``owners`` are object keys (``Machine/pc07``); a step that fails blocks only later steps that share one.
    ``cause`` is ``drift``, or the object that asked. ``held`` says why it must wait; a held step is never executed.
    """

    action: Action
    owners: frozenset[str]
    cause: str
    effect: Effect = Effect.NONE
    changes: tuple[Change, ...] = ()
    held: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order in which they must happen; ``waits`` says of each session that gets no disk now why."""

    steps: tuple[Step, ...] = ()
    waits: Mapping[str, str] = field(default_factory=dict)

    @property
    def due(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.held is None)


@dataclass(frozen=True, slots=True)
class Done:
    """It was done; ``note`` carries what is worth telling (the copy method, the hosts that were left out)."""

    note: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not be done until something changes: trying again is useless."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not work this time."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """Not tried, because an earlier step of the same owner did not end well."""

    by: str


@dataclass(frozen=True, slots=True)
class Underway:
    """It goes on beside the passes; ``message`` says how far it is, ``phase`` what its object is in meanwhile."""

    message: str
    phase: Phase = "Importing"


Outcome = Done | Refused | Failed | Blocked | Underway
