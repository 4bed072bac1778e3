"""Which disks a running session gets.

The version is frozen at the session's start with no record of its own: the overlay's name carries it, and for a
read-only disk, which has no overlay, the path under the standing target does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from controller.core import names
from controller.core.desired import Boot, Chap, Client, Drive, Golden, Lun, Target
from controller.core.index import Index
from controller.core.names import OverlayName, Site
from controller.core.observed import ImageFile, Observed, OverlayFile, OverlayState
from controller.core.targets import place
from manifests.versions import DEFAULT, NEWEST

RESERVE = 0.15
SECTOR = 512


@dataclass(frozen=True, slots=True)
class Part:
    """A disk that can be served: without ``overlay`` the golden file itself, read-only; ``create``: not there yet.

    ``limit`` is how much a snapshot must be able to hold. ``activate``: it is there, and not as it must be; ``found`` is
    how it stands.
    """

    lun: Lun
    version: int
    overlay: OverlayName | None = None
    create: bool = False
    limit: int | None = None
    activate: bool = False
    found: OverlayState = OverlayState.READY

    @property
    def renewed(self) -> bool:
        """What a target may stand on under this name is not what it will be: it must let go first."""
        return self.create or self.found is OverlayState.FULL

    @property
    def exported(self) -> str:
        """The last segment of the path that a target exports."""
        return self.lun.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Disk:
    """What a machine can be served: its target, and each part of it by LUN."""

    target: Target
    parts: tuple[Part, ...]

    @property
    def version(self) -> int:
        """Of what it boots from."""
        return self.parts[0].version


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no disk to serve: ``reason`` one CamelCase word, ``message`` says what waits and the remedy."""

    reason: str
    message: str


def choose(client: Client, boot: Boot, images: Mapping[str, Golden], index: Index, site: Site) -> Disk | Missing:
    """The disks of ``client``'s running session: all, or the first one's reason why not. What cannot be read is never
    taken for absent."""
    if client.portal is None:
        return Missing("NoNetwork", f"Machine/{client.machine} belongs to no Network: set spec.network or spec.address")
    if reason := index.observed.unreadable.get("pool"):
        return Missing("PoolUnreadable", f"the pool cannot be read: {reason}")
    if client.machine in index.unread:
        return Missing("OverlayUnreadable", f"an overlay of Machine/{client.machine} cannot be read: see `ggnet doctor`")
    parts = []
    for drive in boot.drives:
        made = _readonly if drive.persistence == "readonly" else _overlay
        part = made(client, boot, drive, images.get(drive.image), index, site)
        if isinstance(part, Missing):
            several = len(boot.drives) > 1
            return Missing(part.reason, f"disk {drive.name}: {part.message}") if several else part
        parts.append(part)
    secret = _secret(client, index.observed)
    if isinstance(secret, Missing):
        return secret
    target = _target(client, client.portal, [part.lun for part in parts], site)
    return Disk(replace(target, chap=secret) if secret else target, tuple(parts))


def _target(client: Client, portal: str, luns: Sequence[Lun], site: Site) -> Target:
    first, *more = luns
    return Target(
        iqn=site.target(client.machine),
        machine=client.machine,
        backstore=first.backstore,
        serial=first.serial,
        path=first.path,
        size=first.size,
        initiator=client.initiator,
        portal=portal,
        readonly=first.readonly,
        durable=first.durable,
        more=tuple(more),
    )


def _overlay(client: Client, boot: Boot, drive: Drive, image: Golden | None, index: Index, site: Site) -> Part | Missing:
    path = _path(client, drive, index, site)
    present = index.overlays.get(client.machine, ())
    files = index.observed.pool.overlays
    own = [
        o
        for o in present
        if (o.disk, o.uid, o.image) == (drive.name, boot.uid, drive.image) and files[str(o)].state is not OverlayState.LOST
    ]
    pinned = [o for o in own if o.version == drive.pin] if drive.pin else own
    if pinned:
        standing = [o for o in pinned if names.overlay_path(index.observed.pool_dir, o) == path]
        name = standing[0] if standing else max(pinned, key=lambda o: o.version)
        return _found(client, drive, name, files[str(name)], index, site)
    golden = _golden(drive, image, None, index.observed)
    if isinstance(golden, Missing):
        return golden
    if is_full := full(index.observed):
        return is_full
    form: names.Form = "cow" if index.observed.pool.driver == "snapshot" else "raw"
    name = OverlayName(client.machine, drive.name, drive.image, golden.version, boot.uid, form)
    part = _served(client, drive, site, golden.version, golden.size, index, name)
    return replace(part, create=True, limit=_limit(drive, name, golden.size)) if isinstance(part, Part) else part


def _found(client: Client, drive: Drive, name: OverlayName, file: OverlayFile, index: Index, site: Site) -> Part | Missing:
    """An overlay that is there, and what it lacks to be served."""
    if file.state is OverlayState.STRANDED:
        lost = names.golden(name.image, name.version)
        return Missing("ImageLost", f"{name} stands on {lost}, which is not in the pool: put that file back")
    part, limit = _served(client, drive, site, name.version, file.size, index, name), _limit(drive, name, file.size)
    if isinstance(part, Missing) or limit is None:
        return part
    mended = file.state is not OverlayState.READY or limit > (file.limit or 0)
    rewritten = file.durable is not None and file.durable != part.lun.durable
    return replace(part, limit=limit, activate=mended or rewritten, found=file.state)


def _limit(drive: Drive, name: OverlayName, size: int) -> int | None:
    """How much a snapshot's store must hold: what was asked for, and never more than there is to write on the disk."""
    return min(drive.limit or size, size) if name.form == "cow" else None


def _readonly(client: Client, boot: Boot, drive: Drive, image: Golden | None, index: Index, site: Site) -> Part | Missing:
    standing = names.parse_golden((_path(client, drive, index, site) or "").rpartition("/")[2])
    frozen = standing[1] if standing and standing[0] == drive.image else None
    golden = _golden(drive, image, frozen, index.observed)
    if isinstance(golden, Missing) and frozen is not None:
        golden = _golden(drive, image, None, index.observed)
    return golden if isinstance(golden, Missing) else _served(client, drive, site, golden.version, golden.size, index, None)


def _path(client: Client, drive: Drive, index: Index, site: Site) -> str | None:
    state = index.observed.targets.get(site.target(client.machine))
    return state.facts.get(f"{place(names.backstore(client.machine, drive.name))}/path") if state else None


def _golden(drive: Drive, image: Golden | None, frozen: int | None, observed: Observed) -> ImageFile | Missing:
    """The version that it is pinned to, that was ``frozen`` at its start, or that its channel points at."""
    if "pool" not in observed.complete:
        return Missing("PoolUnreadable", "the pool was not read whole, so what is absent from it is not known")
    versions = observed.pool.images.get(drive.image, {})
    if not versions:
        return Missing("ImageNotReady", f"Image/{drive.image} is not imported yet: see `ggnet why Image/{drive.image}`")
    version = drive.pin or frozen or _pointed(drive, image, max(versions))
    if isinstance(version, Missing):
        return version
    found = versions.get(version)
    if found is None:
        had = ", ".join(f"v{v}" for v in sorted(versions))
        channel = f" --channel {drive.channel}" if drive.channel not in (None, DEFAULT) else ""
        remedy = f"change {drive.field}" if drive.pin else f"ggnet image promote {drive.image}@v{max(versions)}{channel}"
        return Missing("NoSuchVersion", f"Image/{drive.image} has no version v{version}, it has {had}: {remedy}")
    return found


def _pointed(drive: Drive, image: Golden | None, newest: int) -> int | Missing:
    channels = image.channels if image else {}
    if drive.channel is None:
        return channels.get(DEFAULT, newest)
    if drive.channel == NEWEST:
        return newest
    if drive.channel in channels:
        return channels[drive.channel]
    has = ", ".join([*sorted(channels), NEWEST])
    return Missing(
        "NoSuchChannel", f"Image/{drive.image} has no channel {drive.channel}, it has {has}: change {drive.field}"
    )


def full(observed: Observed) -> Missing | None:
    """Why no new overlay is made."""
    pool = observed.pool
    if pool.total == 0 or pool.free >= RESERVE * pool.total:
        return None
    share = 100 * pool.free // pool.total
    return Missing("PoolFull", f"the pool has {share} % free and keeps {RESERVE:.0%} for running sessions: make room in it")


def _served(
    client: Client, drive: Drive, site: Site, version: int, size: int, index: Index, overlay: OverlayName | None
) -> Part | Missing:
    if size <= 0 or size % SECTOR:
        return Missing("BadSize", f"{overlay or 'the image'} has {size} bytes, not a multiple of {SECTOR}: no disk has that")
    pool = index.observed.pool_dir
    lun = Lun(
        backstore=names.backstore(client.machine, drive.name),
        serial=site.serial(client.machine, drive.name),
        path=names.overlay_path(pool, overlay) if overlay else names.golden_path(pool, drive.image, version),
        size=size,
        readonly=overlay is None,
        durable=drive.persistence == "keep",
    )
    return Part(lun, version, overlay)


def _secret(client: Client, observed: Observed) -> Chap | Missing | None:
    """What the PC has to know; a secret that cannot be used never means that none is asked for."""
    name = client.credential
    if name is None:
        return None
    found = observed.credentials.get(name)
    if found is None:
        return Missing("ChapSecretUnseen", f"no look at the credential {name} yet: it comes with the next pass")
    if found.digest is None:
        return Missing("ChapSecretUnusable", f"the credential {name} of Machine/{client.machine}: {found.problem}")
    return Chap(name, found.digest)
