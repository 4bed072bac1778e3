"""From objects to what this boot server must hold: every reference followed, every rule about *who runs* in one place.

Each piece takes only what it needs, so that a pass over three machines resolves three machines: ``client`` needs one
Machine, its Sessions and all Networks (few), and ``dhcp`` the clients of all machines.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from controller.core.desired import Boot, Client, Commit, Desired, DhcpConfig, Drive, Golden, Host, Origin, Subnet
from controller.core.names import OverlayName, Site, dhcp_host
from manifests.disks import SYSTEM_DISK
from manifests.image import Image
from manifests.kinds import Object
from manifests.machine import Machine
from manifests.network import Network
from manifests.references import Networks, network_of
from manifests.retention import Retention
from manifests.session import Persistence, Session
from manifests.types import Size
from manifests.versions import ImageRef

ISCSI_PORT = 3260
_BEGINNING = datetime.min.replace(tzinfo=UTC)


def resolve(
    objects: Iterable[Object], site: Site, now: datetime, *, complete: bool = True, orphans: frozenset[str] = frozenset()
) -> Desired:
    """What ``objects`` ask of ``site.server`` at ``now`` (aware).

    Deleted objects that are still served belong to ``objects``. With ``complete`` False they are a part: a Machine
    comes with all of its Sessions, all Networks come, and only ``clients`` and ``images`` are told. ``orphans`` are those on
    record.
    """
    networks: list[Network] = []
    machines: list[Machine] = []
    images: list[Image] = []
    sessions: dict[str, list[Session]] = defaultdict(list)
    for found in objects:
        match found:
            case Network():
                networks.append(found)
            case Machine():
                machines.append(found)
            case Image():
                images.append(found)
            case Session():
                sessions[found.spec.machine].append(found)
    here = {m.name: m for m in machines if not elsewhere(m, site)}
    served = tuple(n for n in networks if n.metadata.deleted_at is None)
    spans = Networks.of(served)
    clients: dict[str, Client] = {
        name: client(here[name], sessions.get(name, ()), spans, site, now) for name in sorted(here)
    }
    everyone = [session for group in sessions.values() for session in group] if complete else []
    return Desired(
        clients=clients,
        images={image.name: golden(image) for image in images if image.metadata.deleted_at is None},
        dhcp=dhcp(served, clients.values()) if complete else None,
        keep=frozenset(uid(s) for s in everyone if kept(s) and s.metadata.deleted_at is None),
        shed=frozenset(one for s in everyone for one in shed(s)),
        orphans=orphans,
        uses=_uses(everyone),
        day=day(now),
        leaving={image.name: until for image in images if (until := leaves(image))},
        complete=complete,
    )


def day(now: datetime) -> int:
    """Days since 1970, UTC."""
    return int(now.timestamp()) // 86400


def uses(session: Session) -> frozenset[tuple[str, int]]:
    """The versions that its disks name or were last told to have, whether it runs or not, and the base of a commit."""
    found = {(str(ref.image), ref.version) for _, ref in session.spec.images if ref.version}
    for overlay, image, version in _told(session):
        name = OverlayName.parse(overlay) if overlay else None
        found.add((name.image if name else image, version))
    asked = commit(session)
    return frozenset(found | {(asked.image, asked.base)} if asked else found)


def _told(session: Session) -> Iterator[tuple[str | None, str, int]]:
    """Overlay, image and version of each of its disks that has one."""
    status = session.status
    if status and status.disks is not None:
        yield from ((disk.overlay, disk.image, disk.version) for disk in status.disks if disk.version)
    elif status and status.image_version:
        yield status.overlay, session.spec.images[0][1].image, status.image_version


def _uses(sessions: Iterable[Session]) -> Mapping[tuple[str, int], set[str]]:
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for session in sessions:
        for version in uses(session):
            found[version].add(session.key)
    return dict(found)


def client(machine: Machine, sessions: Sequence[Session], networks: Networks, site: Site, now: datetime) -> Client:
    """One machine with all of its sessions; ``networks`` without the deleted. One that is switched off boots nothing."""
    enabled = machine.spec.enabled and machine.metadata.deleted_at is None
    running = runs(sessions, now) if enabled else None
    network = network_of(machine, networks)
    parts: tuple[Machine | Session, ...] = (machine, *sessions)
    commits = tuple(sorted((one for s in sessions if (one := commit(s))), key=lambda one: one.session))
    return Client(
        machine=machine.name,
        macs=machine.spec.macs,
        initiator=machine.spec.initiator or site.initiator(machine.name),
        portal=f"{network.spec.server_address}:{ISCSI_PORT}" if network else None,
        hosts=hosts(machine, network) if enabled else (),
        boot=boot(running) if running else None,
        paused=machine.metadata.paused or bool(running and running.metadata.paused),
        settled=not commits and all(settled(part) for part in parts),
        disruption=any(part.metadata.disruption_allowed for part in parts),
        idle={uid(s): s.name for s in sessions if s is not running and not _let_go(s)},
        resting=frozenset(f"Session/{s.name}" for s in sessions if s is not running and s.metadata.paused),
        discard=frozenset(uid(s) for s in sessions if s.metadata.deleted_at is not None and kept(s)),
        commits=commits,
        orphan=_let_go(machine) or (running is None and any(_let_go(s) for s in sessions)),
        address=machine.spec.address,
        credential=machine.spec.chap.credential if machine.spec.chap else None,
        proven=machine.status.chap_digest if machine.status else None,
    )


def runs(sessions: Iterable[Session], now: datetime) -> Session | None:
    """The one session that runs: asked for, not deleted, not past its time, none of its disks to be committed. Of several,
    the eldest, then by name."""
    wanted = (s for s in sessions if s.spec.state == "running" and s.metadata.deleted_at is None)
    asked = [s for s in wanted if not expired(s, now) and commit(s) is None]
    return min(asked, key=lambda s: (s.metadata.created_at or _BEGINNING, s.name), default=None)


def expired(session: Session, now: datetime) -> bool:
    started = session.status.started_at if session.status else None
    return bool(session.spec.ttl and started and now >= started + timedelta(seconds=session.spec.ttl))


def commit(session: Session) -> Commit | None:
    """What was asked for and is not done; nothing of a session that goes."""
    asked = session.metadata.commit if session.metadata.deleted_at is None else None
    if asked is None:
        return None
    owner = uid(session)
    return Commit(session.name, owner, asked.disk, asked.image, asked.base, asked.id, asked.by, asked.comment)


def boot(session: Session) -> Boot:
    return Boot(
        session=session.name,
        uid=uid(session),
        drives=drives(session),
        paused=session.metadata.paused,
    )


def drives(session: Session) -> tuple[Drive, ...]:
    """By LUN. It is asked of every session again and again, so the usual one disk is told without a model of its own."""
    spec = session.spec
    if spec.disks is None:
        return tuple(_drive(SYSTEM_DISK, *each, spec.persistence, spec.overlay_limit) for each in spec.images)
    return tuple(
        _drive(disk.name, *each, disk.persistence or spec.persistence, disk.overlay_limit)
        for disk, each in zip(spec.all_disks, spec.images, strict=True)
    )


def _drive(name: str, field: str, image: ImageRef, persistence: Persistence, limit: Size | None) -> Drive:
    return Drive(
        name=name,
        image=image.image,
        pin=image.version,
        persistence=persistence,
        limit=int(limit) if limit is not None else None,
        channel=image.channel,
        field=f"spec.{field}",
    )


def kept(session: Session) -> bool:
    """Whether anything of it must outlive a stop."""
    return any(drive.persistence == "keep" for drive in drives(session))


def shed(session: Session) -> frozenset[tuple[str, str]]:
    """Of a session that keeps a disk: those that it does not. A disk that it names no more is kept: nobody said drop it."""
    if not kept(session):
        return frozenset()
    return frozenset((uid(session), drive.name) for drive in drives(session) if drive.persistence != "keep")


def golden(image: Image) -> Golden:
    spec = image.spec
    found = source(image)
    channels = {str(channel): version.number for channel, version in (spec.channels or {}).items()}
    return Golden(
        image.name,
        found[1],
        spec.format,
        image.metadata.paused,
        settled(image),
        origin=found[0],
        sha256=spec.source.sha256,
        channels=channels,
        author=image.metadata.managed_by,
        comment=spec.comment,
        retention=spec.retention or Retention(),
        former=_former(image, channels),
    )


def leaves(image: Image) -> int:
    """The day after which what an Image leaves behind may go; 0 while it is declared, and where all of it is to stay."""
    meta, rule = image.metadata, image.spec.retention or Retention()
    return day(meta.deleted_at) + rule.days if meta.deleted_at and rule.collect and not meta.orphan else 0


def _former(image: Image, channels: Mapping[str, int]) -> Mapping[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for name, told in image.status.channels.items() if image.status else ():
        for version in (told.version, told.previous):
            if version is not None and version != channels.get(name):
                found[version].add(name)
    return dict(found)


def source(image: Image) -> tuple[Origin, str]:
    """Which kind of source it is, and where."""
    given = image.spec.source
    if given.upload is not None:
        return "upload", given.upload
    if given.url is not None:
        return "url", given.url
    assert given.path is not None  # one of the three is, or it would not have been taken
    return "path", given.path


def hosts(machine: Machine, network: Network | None) -> tuple[Host, ...]:
    """One declaration a card. The fixed address goes to the first card alone: two cards of a running PC that are both
    given its address would take its disk away."""
    if network is None or network.spec.dhcp != "authoritative":
        return ()
    hostname = machine.spec.hostname or machine.name
    return tuple(
        Host(
            name=dhcp_host(machine.name, card),
            machine=machine.name,
            mac=mac,
            hostname=hostname,
            address=machine.spec.address if card == 0 else None,
            firmware=machine.spec.firmware,
            network=network.name,
        )
        for card, mac in enumerate(machine.spec.macs)
    )


def dhcp(networks: Iterable[Network], clients: Iterable[Client]) -> DhcpConfig:
    """The whole configuration; only Networks that we are authoritative for are rendered."""
    ours = (n for n in networks if n.spec.dhcp == "authoritative")
    return DhcpConfig(
        subnets=tuple(sorted(map(subnet, ours), key=lambda s: s.name)),
        hosts=tuple(sorted((host for c in clients for host in c.hosts), key=lambda h: h.name)),
    )


def subnet(network: Network) -> Subnet:
    spec = network.spec
    return Subnet(
        name=network.name,
        cidr=spec.cidr,
        server=spec.server_address,
        gateway=spec.gateway,
        dns=spec.dns,
        domain=spec.domain,
        ntp=spec.ntp,
        range=(spec.range.start, spec.range.end) if spec.range else None,
        external=spec.dhcp == "external",
        settled=settled(network),
    )


def elsewhere(machine: Machine, site: Site) -> bool:
    """Whether another boot server serves it."""
    return machine.spec.server is not None and machine.spec.server != site.server


def settled(found: Object) -> bool:
    """Whether this very generation was once converged: a difference from now on is drift."""
    status, meta = found.status, found.metadata
    if status is None or meta.deleted_at is not None or status.observed_generation != meta.generation:
        return False
    ready = status.condition("Ready")
    return ready is not None and ready.status == "True"


def uid(session: Session) -> str:
    """The server gives every stored object one; one that was never stored is told apart by its name."""
    return session.metadata.uid or f"unstored-{session.name}"


def _let_go(part: Machine | Session) -> bool:
    """Deleted, with its disk to be left in place."""
    return part.metadata.deleted_at is not None and part.metadata.orphan
