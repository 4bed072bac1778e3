"""What is there: all that was read from the host. Frozen, no behaviour.

Reading may fail in part; the snapshot says so, because absence is never inferred from a failed read: a domain in
``Observed.complete`` was read whole, a key in ``Observed.unreadable`` was not read at all.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from manifests.types import Iqn


class Login(StrEnum):
    """Whether an initiator is logged in. Unknown is not off: it blocks all that cuts or discards."""

    NONE = "none"
    ACTIVE = "active"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TargetState:
    """What the kernel holds under one target's name, whole or half-made, as flat facts (see ``targets.facts``).

    A backstore without its target, or the reverse, is a state like any other. ``peer`` is the initiator's address.
    """

    facts: Mapping[str, str]
    login: Login = Login.NONE
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Stamp:
    """Tells whether a source file is still the one that was imported, without reading it."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """An image's source: its stamp, or why it cannot be used; neither while it is still to be fetched."""

    stamp: Stamp | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One imported version: raw, read-only, complete; ``stamp`` and ``identity`` (see ``Golden``) are those of the source
    it was made from, ``made_ns`` is when (nanoseconds since 1970), ``parent`` the version before it. ``used`` is the day of
    its last use (since 1970, UTC), 0 where uses were not noted; ``taken`` the bytes that it takes in the pool.

    ``released`` is the day after which it goes because its Image was deleted, 0 for one that is declared, or of which nobody
    knows.

    What the source was found to be: its ``format``, a ``remark`` for people, the ``layers`` that confined who looked.
    """

    version: int
    size: int
    sha256: str
    stamp: Stamp
    identity: str = ""
    made_ns: int = 0
    author: str | None = None
    comment: str | None = None
    parent: int | None = None
    used: int = 0
    taken: int = 0
    format: str | None = None
    remark: str | None = None
    layers: tuple[str, ...] = ()
    released: int = 0


class OverlayState(StrEnum):
    """How a private disk stands; one that is a plain file is always ready.

    The others are a snapshot's: its device is not there, as after a restart of the boot server; its device is there and
    its file has gone; it has run full, or its file could not be written, and it takes no more; its image is missing.
    """

    READY = "ready"
    INACTIVE = "inactive"
    LOST = "lost"
    FULL = "full"
    STRANDED = "stranded"


@dataclass(frozen=True, slots=True)
class OverlayFile:
    """A session's disk in the pool. ``method`` is how it was made: reflink | copy | snapshot.

    ``size`` is what its PC sees; ``used`` the bytes that it takes, in whole hundredths of ``limit`` or else of ``size``.
    Only a snapshot has a ``limit``. ``durable``: what is written to it is on the server's disk before its PC is told so;
    None where that is decided elsewhere.
    """

    size: int
    method: str
    used: int = 0
    limit: int | None = None
    state: OverlayState = OverlayState.READY
    durable: bool | None = None


@dataclass(frozen=True, slots=True)
class BootFileState:
    """A file below the TFTP root's ``ggnet`` folder. ``machine`` from its header; ``ours`` False without our mark."""

    sha256: str
    ours: bool
    machine: str | None = None


@dataclass(frozen=True, slots=True)
class DhcpState:
    """The include on disk, and what the running dhcpd has loaded: two different things.

    ``file`` and ``loaded`` are sha256 of the include's body (without its header); None is absent, not running or not
    known. ``hosts`` are the host declarations in the file, name -> normal form. ``refused`` are the host declarations
    that dhcpd would not take, name -> (normal form, its message), valid for the administrator's file as it is now.
    """

    file: str | None = None
    loaded: str | None = None
    running: bool = False
    generation: int = 0
    hosts: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CredentialState:
    """A secret on this host: the keyed digest of it, or why it cannot be used."""

    digest: str | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class PoolState:
    """Images by name and version, overlays by file name, sources by image; bytes free (to a hundredth) and in all.

    ``driver`` is how a new overlay is made: reflink | snapshot | copy. A look at a few machines has only their overlays;
    there ``carried`` are the versions of each image that an overlay of any machine is one of. ``brought`` are sources
    that lie in the pool for as long as they are needed, by identity: finished uploads, and downloads, whole or not.
    """

    images: Mapping[str, Mapping[int, ImageFile]] = field(default_factory=dict)
    overlays: Mapping[str, OverlayFile] = field(default_factory=dict)
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    free: int = 0
    total: int = 0
    driver: str = "reflink"
    carried: Mapping[str, Collection[int]] = field(default_factory=dict)
    brought: frozenset[str] = frozenset()


Domain = Literal["pool", "lio", "tftp", "dhcp"]


@dataclass(frozen=True, slots=True)
class Observed:
    """The host as it was read. ``targets`` by IQN, ``boot`` by path below the TFTP root, ``nbps`` sha256 by name.

    ``complete`` names the domains that were read whole (of the pool, its images); ``unreadable`` maps what could not be
    read (an IQN, a path, an overlay's name, or a whole domain) to the reason; ``foreign`` lists what is not ours, for the
    report only.
    ``credentials`` are the secrets that were asked for, by name; ``closed`` maps an address at which PCs should be told
    theirs to why nobody listens there.
    """

    pool: PoolState = field(default_factory=PoolState)
    targets: Mapping[Iqn, TargetState] = field(default_factory=dict)
    boot: Mapping[str, BootFileState] = field(default_factory=dict)
    nbps: Mapping[str, str] = field(default_factory=dict)
    dhcp: DhcpState = field(default_factory=DhcpState)
    complete: frozenset[Domain] = frozenset()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()
    pool_dir: str = "/var/lib/ggnet/pool"
    credentials: Mapping[str, CredentialState] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
