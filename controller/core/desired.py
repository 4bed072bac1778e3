"""What is wanted: all that the objects ask of *this* boot server, with all references followed. Frozen, no behaviour."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from manifests.retention import Retention
from manifests.types import Cidr, Ipv4, Iqn, Mac


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


Origin = Literal["path", "upload", "url"]
_COMMITTED = "commit "


def identity(origin: Origin, source: str, sha256: str | None) -> str:
    """What never changes its bytes is known by this alone, a download by its digest, wherever it comes from; empty for a
    path, which is known by its stamp."""
    match origin:
        case "upload":
            return f"upload {source}"
        case "url":
            return f"sha256 {sha256}"
        case "path":
            return ""


def label(origin: Origin, source: str) -> str:
    """The source as people are told of it: what follows a question mark in a URL may be a secret."""
    return source.partition("?")[0] if origin == "url" else source


@dataclass(frozen=True, slots=True)
class Golden:
    """An Image: its source (a path below the import folder, an upload's id, or a URL), and where its channels point.

    ``sha256`` is what the source must hash to, where that is said. ``author`` and ``comment`` are kept with the version
    that is made. ``settled`` as of a ``Client``. ``former`` are the versions that channels were last told to point at, and
    at before that: a channel that was moved may be moved back.
    """

    name: str
    source: str
    format: str = "auto"
    paused: bool = False
    settled: bool = False
    origin: Origin = "path"
    sha256: str | None = None
    channels: Mapping[str, int] = field(default_factory=dict)
    author: str | None = None
    comment: str | None = None
    retention: Retention = field(default_factory=Retention)
    former: Mapping[int, Collection[str]] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        return identity(self.origin, self.source, self.sha256)

    @property
    def label(self) -> str:
        return label(self.origin, self.source)


@dataclass(frozen=True, slots=True)
class Drive:
    """A disk that a Session asks for. ``field`` is where it says of what image.

    ``pin`` is a version, ``channel`` names one, ``limit`` is how many bytes may be written to it.
    """

    name: str
    image: str
    pin: int | None
    persistence: Literal["ephemeral", "keep", "readonly"]
    limit: int | None = None
    channel: str | None = None
    field: str = "spec.image"


@dataclass(frozen=True, slots=True)
class Boot:
    """A running Session: the disks of its machine by LUN, the first of which it boots from."""

    session: str
    uid: str
    drives: tuple[Drive, ...]
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """A kept disk of a Session that shall become the next version of its image, after ``base``. ``id`` is the request's."""

    session: str
    uid: str
    disk: str
    image: str
    base: int
    id: str
    author: str | None = None
    comment: str | None = None

    @property
    def identity(self) -> str:
        return f"{_COMMITTED}{self.id}"


def committed(identity: str) -> bool:
    """Whether a commit made it: who asked for that looks for its version by this very identity."""
    return identity.startswith(_COMMITTED)


@dataclass(frozen=True, slots=True)
class Chap:
    """A secret that a PC has to know: what it is called, and a keyed digest of it. The secret itself is never here."""

    credential: str
    digest: str


@dataclass(frozen=True, slots=True)
class Client:
    """One Machine as this server must serve it; ``boot`` None means its local disk.

    ``settled`` says that this very generation was once converged, so that a difference now is drift.
    ``disruption`` says that somebody asked by name for its live disk to be cut. ``idle`` are its sessions that do not
    run here now, uid -> name: what is taken down is taken down for them. ``resting`` are the keys of those that are
    suspended. ``discard`` are the uids of those of them that
    were deleted though they were to be kept: dropping their overlays loses data. ``commits`` are asked for and not done.
    ``orphan``: it, or its last session, was deleted with its disk to be left in place. ``credential`` names the secret
    that it has to know, which is told to ``address`` alone; ``proven`` is the digest of the one that its target last asked
    for, None for none.
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
    resting: frozenset[str] = frozenset()
    discard: frozenset[str] = frozenset()
    commits: tuple[Commit, ...] = ()
    orphan: bool = False
    address: Ipv4 | None = None
    credential: str | None = None
    proven: str | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that is asked of this server. ``keep`` holds the uids of sessions whose overlays must outlive a stop,
    ``shed`` (uid and disk) those of their disks that are not kept.

    ``orphans`` are machines that were let go with their disks left in place: neither changed nor pruned. ``uses`` are the
    sessions, by key, that name a version of an image or were last told to have it; ``day`` is today, in days since 1970.
    ``leaving`` are deleted Images of which something may be in the pool: for how long that stays, as of ``released``.
    ``complete`` False means that only some clients were looked up, so nothing may be pruned against it; ``dhcp`` None
    means that the DHCP configuration, which needs them all, was not looked at.
    """

    clients: Mapping[str, Client] = field(default_factory=dict)
    images: Mapping[str, Golden] = field(default_factory=dict)
    dhcp: DhcpConfig | None = DhcpConfig()
    keep: frozenset[str] = frozenset()
    shed: frozenset[tuple[str, str]] = frozenset()
    orphans: frozenset[str] = frozenset()
    uses: Mapping[tuple[str, int], Collection[str]] = field(default_factory=dict)
    day: int = 0
    leaving: Mapping[str, int] = field(default_factory=dict)
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Lun:
    """One disk as LIO must export it.

    ``path`` is absolute, ``size`` in bytes (a multiple of 512). ``durable``: what a PC wrote is on the server's disk
    before it is told so; otherwise a power cut of the server loses the last of it.
    """

    backstore: str
    serial: str
    path: str
    size: int
    readonly: bool = False
    durable: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """The disks of one machine as LIO must export them: one target, one TPG, one ACL, and a LUN for each disk.

    LUN 0 stands in this object itself, as of ``Lun``, for most machines have no other; the ``more`` follow it from LUN 1
    on. ``portal`` is ``ADDRESS:PORT``.
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
    more: tuple[Lun, ...] = ()
    chap: Chap | None = None

    @property
    def luns(self) -> tuple[Lun, ...]:
        """All of them, by number."""
        return Lun(self.backstore, self.serial, self.path, self.size, self.readonly, self.durable), *self.more
