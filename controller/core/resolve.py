"""From objects to what this boot server must hold: every reference followed, every rule about *who runs* in one place.

Each piece takes only what it needs, so that a pass over three machines resolves three machines: ``client`` needs one
Machine, its Sessions and all Networks (few), and ``dhcp`` the clients of all machines.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from controller.core.names import Site, dhcp_host
from controller.core.world import Boot, Client, Desired, DhcpConfig, Golden, Host, Subnet
from manifests.image import Image
from manifests.kinds import Object
from manifests.machine import Machine
from manifests.network import Network
from manifests.references import Networks, network_of
from manifests.session import Session

ISCSI_PORT = 3260
_BEGINNING = datetime.min.replace(tzinfo=UTC)


def resolve(
    objects: Iterable[Object], site: Site, now: datetime, *, complete: bool = True, orphans: frozenset[str] = frozenset()
) -> Desired:
    """What ``objects`` ask of ``site.server`` at ``now`` (aware).

    Deleted objects that are still served belong to ``objects``. With ``complete`` False they are a part: a Machine
    comes with all of its Sessions, all Networks come, and ``dhcp`` is left None. ``orphans`` are those on record.
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
    everyone = [session for group in sessions.values() for session in group]
    return Desired(
        clients=clients,
        images={image.name: golden(image) for image in images if image.metadata.deleted_at is None},
        dhcp=dhcp(served, clients.values()) if complete else None,
        keep=frozenset(uid(s) for s in everyone if s.spec.persistence == "keep" and s.metadata.deleted_at is None),
        orphans=orphans,
        complete=complete,
    )


def client(machine: Machine, sessions: Sequence[Session], networks: Networks, site: Site, now: datetime) -> Client:
    """One machine with all of its sessions; ``networks`` without the deleted. One that is switched off boots nothing."""
    enabled = machine.spec.enabled and machine.metadata.deleted_at is None
    running = runs(sessions, now) if enabled else None
    network = network_of(machine, networks)
    parts: tuple[Machine | Session, ...] = (machine, *sessions)
    return Client(
        machine=machine.name,
        macs=machine.spec.macs,
        initiator=machine.spec.initiator or site.initiator(machine.name),
        portal=f"{network.spec.server_address}:{ISCSI_PORT}" if network else None,
        hosts=hosts(machine, network) if enabled else (),
        boot=boot(running) if running else None,
        paused=machine.metadata.paused or bool(running and running.metadata.paused),
        settled=all(settled(part) for part in parts),
        disruption=any(part.metadata.disruption_allowed for part in parts),
        idle={uid(s): s.name for s in sessions if s is not running and not _let_go(s)},
        discard=frozenset(uid(s) for s in sessions if s.metadata.deleted_at is not None and s.spec.persistence == "keep"),
        orphan=_let_go(machine) or (running is None and any(_let_go(s) for s in sessions)),
    )


def runs(sessions: Iterable[Session], now: datetime) -> Session | None:
    """The one session that runs: asked for, not deleted, not past its time. Of several, the eldest, then by name."""
    asked = [s for s in sessions if s.spec.state == "running" and s.metadata.deleted_at is None and not expired(s, now)]
    return min(asked, key=lambda s: (s.metadata.created_at or _BEGINNING, s.name), default=None)


def expired(session: Session, now: datetime) -> bool:
    started = session.status.started_at if session.status else None
    return bool(session.spec.ttl and started and now >= started + timedelta(seconds=session.spec.ttl))


def boot(session: Session) -> Boot:
    return Boot(
        session=session.name,
        uid=uid(session),
        image=session.spec.image.image,
        pin=session.spec.image.version,
        persistence=session.spec.persistence,
        paused=session.metadata.paused,
    )


def golden(image: Image) -> Golden:
    return Golden(image.name, image.spec.source.path, image.spec.format, image.metadata.paused, settled(image))


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
