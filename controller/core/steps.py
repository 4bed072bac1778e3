"""The closed set of things that GGnet ever does to a host, and how each may end.

A step is data: the planner makes it, a plan shows it, the executor does it and has nothing left to choose.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.core.names import OverlayName
from controller.core.world import DhcpConfig, Target
from manifests.types import Iqn


class Effect(StrEnum):
    """What a running PC feels: nothing, something at its next boot, a cut, or the loss of what it wrote."""

    NONE = "none"
    NEXT_BOOT = "next-boot"
    DISRUPTIVE = "disruptive"
    DATA_LOSS = "data-loss"


@dataclass(frozen=True, slots=True)
class ImportImage:
    """Make ``image``'s next version from its source: inspect, copy, hash, mark complete."""

    image: str
    version: int
    source: str


@dataclass(frozen=True, slots=True)
class CreateOverlay:
    """Clone a golden version into a session's own disk."""

    name: OverlayName
    size: int


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
    ImportImage | CreateOverlay | DeleteOverlay | PublishTarget | WithdrawTarget | WriteBootFile | DeleteBootFile | LoadDhcp
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


Outcome = Done | Refused | Failed | Blocked
