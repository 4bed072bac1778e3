"""The two sides of every comparison: what is wanted and what is there. Frozen snapshots, no behaviour.

``Desired`` is what the objects ask of *this* boot server, with all references followed. ``Observed`` is what was
read from the host. Reading may fail in part; the snapshot says so, because absence is never inferred from a failed
read: a domain in ``Observed.complete`` was read whole, a key in ``Observed.unreadable`` was not read at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from manifests.types import Cidr, Ipv4, Iqn, Mac

# --- wanted -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subnet:
    """A Network that we answer DHCP on (or, with ``external``, only serve). ``settled`` as of a ``Client``."""

    name: str
    cidr: Cidr
    server: Ipv4
    gateway: Ipv4 | None = None
    dns: tuple[Ipv4, ...] = ()
    domain: str | None = None
    ntp: tuple[Ipv4, ...] = ()
    range: tuple[Ipv4, Ipv4] | None = None
    external: bool = False
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """One network card of one machine, as dhcpd must know it. ``name`` is unique in the file; ``network`` is its
    Network's name."""

    name: str
    machine: str
    mac: Mac
    hostname: str
    address: Ipv4 | None = None
    firmware: Literal["auto", "bios", "uefi"] = "auto"
    network: str = ""


@dataclass(frozen=True, slots=True)
class DhcpConfig:
    """All that our include holds: subnets by name, hosts by name."""

    subnets: tuple[Subnet, ...] = ()
    hosts: tuple[Host, ...] = ()

    def __hash__(self) -> int:
        """Cheap, for what is remembered of a configuration is asked for in every plan; ``==`` looks at all of it."""
        return hash((self.subnets, len(self.hosts), self.hosts[:1], self.hosts[-1:]))


@dataclass(frozen=True, slots=True)
class Golden:
    """An Image: its source below the import folder. ``settled`` as of a ``Client``."""

    name: str
    source: str
    format: str = "auto"
    paused: bool = False
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Boot:
    """A running Session: the disk that its machine boots from."""

    session: str
    uid: str
    image: str
    pin: int | None
    persistence: Literal["ephemeral", "keep", "readonly"]
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Client:
    """One Machine as this server must serve it; ``boot`` None means its local disk.

    ``settled`` says that this very generation was once converged, so that a difference now is drift.
    ``disruption`` says that somebody asked by name for its live disk to be cut. ``idle`` are its sessions that do not
    run here now, uid -> name: what is taken down is taken down for them. ``discard`` are the uids of those of them that
    were deleted though they were to be kept: dropping their overlays loses data. ``orphan``: it, or its last session,
    was deleted with its disk to be left in place.
    """

    machine: str
    macs: tuple[Mac, ...]
    initiator: Iqn
    portal: str | None
    hosts: tuple[Host, ...] = ()
    boot: Boot | None = None
    paused: bool = False
    settled: bool = False
    disruption: bool = False
    idle: Mapping[str, str] = field(default_factory=dict)
    discard: frozenset[str] = frozenset()
    orphan: bool = False


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that is asked of this server. ``keep`` holds the uids of sessions whose overlays must outlive a stop.

    ``orphans`` are machines that were let go with their disks left in place: neither changed nor pruned.
    ``complete`` False means that only some clients were looked up, so nothing may be pruned against it; ``dhcp`` None
    means that the DHCP configuration, which needs them all, was not looked at.
    """

    clients: Mapping[str, Client] = field(default_factory=dict)
    images: Mapping[str, Golden] = field(default_factory=dict)
    dhcp: DhcpConfig | None = DhcpConfig()
    keep: frozenset[str] = frozenset()
    orphans: frozenset[str] = frozenset()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """One disk of one machine as LIO must export it: one target, one TPG, one LUN, one ACL.

    ``path`` is absolute, ``size`` in bytes (a multiple of 512), ``portal`` is ``ADDRESS:PORT``. ``durable``: what a PC
    wrote is on the server's disk before it is told so; otherwise a power cut of the server loses the last of it.
    """

    iqn: Iqn
    machine: str
    backstore: str
    serial: str
    path: str
    size: int
    initiator: Iqn
    portal: str
    readonly: bool = False
    durable: bool = False


# --- there ------------------------------------------------------------------------------------------------------


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
    """An image's source in the import folder: its stamp, or why it cannot be used."""

    stamp: Stamp | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One imported version: raw, read-only, complete; ``stamp`` is that of the source it was made from."""

    version: int
    size: int
    sha256: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class OverlayFile:
    """A session's disk in the pool. ``method`` is how it was made: reflink | copy."""

    size: int
    method: str


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
class PoolState:
    """Images by name and version, overlays by file name, sources by image; bytes free (to a hundredth) and in all."""

    images: Mapping[str, Mapping[int, ImageFile]] = field(default_factory=dict)
    overlays: Mapping[str, OverlayFile] = field(default_factory=dict)
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    free: int = 0
    total: int = 0


Domain = Literal["pool", "lio", "tftp", "dhcp"]


@dataclass(frozen=True, slots=True)
class Observed:
    """The host as it was read. ``targets`` by IQN, ``boot`` by path below the TFTP root, ``nbps`` sha256 by name.

    ``complete`` names the domains that were read whole; ``unreadable`` maps what could not be read (an IQN, a path,
    an overlay's name, or a whole domain) to the reason; ``foreign`` lists what is not ours, for the report only.
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
