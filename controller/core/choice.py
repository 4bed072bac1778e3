"""Which disk a running session gets.

The version is frozen at the session's start with no record of its own: the overlay's name carries it, and for a
read-only disk, which has no overlay, the path under the standing target does.
"""

from dataclasses import dataclass

from controller.core import names
from controller.core.index import Index
from controller.core.names import OverlayName, Site
from controller.core.world import Boot, Client, ImageFile, Observed, Target

RESERVE = 0.15
SECTOR = 512


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk that can be served: without ``overlay`` the golden file itself, read-only; ``create``: not there yet."""

    target: Target
    version: int
    overlay: OverlayName | None = None
    create: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no disk to serve: ``reason`` one CamelCase word, ``message`` says what waits and the remedy."""

    reason: str
    message: str


def choose(client: Client, boot: Boot, index: Index, site: Site) -> Disk | Missing:
    """The disk of ``client``'s running session. What cannot be read is never taken for absent."""
    if client.portal is None:
        return Missing("NoNetwork", f"Machine/{client.machine} belongs to no Network: set spec.network or spec.address")
    if reason := index.observed.unreadable.get("pool"):
        return Missing("PoolUnreadable", f"the pool cannot be read: {reason}")
    if client.machine in index.unread:
        return Missing("OverlayUnreadable", f"an overlay of Machine/{client.machine} cannot be read: see `ggnet doctor`")
    return _readonly(client, boot, index, site) if boot.persistence == "readonly" else _overlay(client, boot, index, site)


def _overlay(client: Client, boot: Boot, index: Index, site: Site) -> Disk | Missing:
    path = _path(client, index, site)
    present = index.overlays.get((client.machine, names.SYSTEM_DISK), ())
    own = [o for o in present if o.uid == boot.uid and o.image == boot.image]
    pinned = [o for o in own if o.version == boot.pin] if boot.pin else own
    if pinned:
        standing = [o for o in pinned if names.overlay_path(index.observed.pool_dir, o) == path]
        name = standing[0] if standing else max(pinned, key=lambda o: o.version)
        return _served(client, site, name.version, index.observed.pool.overlays[str(name)].size, index, name)
    golden = _golden(boot, boot.pin, index.observed)
    if isinstance(golden, Missing):
        return golden
    if is_full := full(index.observed):
        return is_full
    name = OverlayName(client.machine, names.SYSTEM_DISK, boot.image, golden.version, boot.uid)
    return _served(client, site, golden.version, golden.size, index, name, create=True)


def _readonly(client: Client, boot: Boot, index: Index, site: Site) -> Disk | Missing:
    standing = names.parse_golden((_path(client, index, site) or "").rpartition("/")[2])
    frozen = standing[1] if standing and standing[0] == boot.image else None
    golden = _golden(boot, boot.pin or frozen, index.observed)
    if isinstance(golden, Missing) and boot.pin is None:
        golden = _golden(boot, None, index.observed)
    return golden if isinstance(golden, Missing) else _served(client, site, golden.version, golden.size, index, None)


def _path(client: Client, index: Index, site: Site) -> str | None:
    state = index.observed.targets.get(site.target(client.machine))
    return state.facts.get("backstore/path") if state else None


def _golden(boot: Boot, version: int | None, observed: Observed) -> ImageFile | Missing:
    if "pool" not in observed.complete:
        return Missing("PoolUnreadable", "the pool was not read whole, so what is absent from it is not known")
    versions = observed.pool.images.get(boot.image, {})
    if not versions:
        return Missing("ImageNotReady", f"Image/{boot.image} is not imported yet: see `ggnet why Image/{boot.image}`")
    found = versions.get(version or max(versions))
    if found is None:
        had = ", ".join(f"v{v}" for v in sorted(versions))
        return Missing("NoSuchVersion", f"Image/{boot.image} has no version v{version}, it has {had}: change spec.image")
    return found


def full(observed: Observed) -> Missing | None:
    """Why no new overlay is made."""
    pool = observed.pool
    if pool.total == 0 or pool.free >= RESERVE * pool.total:
        return None
    share = 100 * pool.free // pool.total
    return Missing("PoolFull", f"the pool has {share} % free and keeps {RESERVE:.0%} for running sessions: make room in it")


def _served(
    client: Client, site: Site, version: int, size: int, index: Index, overlay: OverlayName | None, *, create: bool = False
) -> Disk | Missing:
    if size <= 0 or size % SECTOR:
        return Missing("BadSize", f"{overlay or 'the image'} has {size} bytes, not a multiple of {SECTOR}: no disk has that")
    assert client.boot is not None
    assert client.portal is not None
    pool = index.observed.pool_dir
    target = Target(
        iqn=site.target(client.machine),
        machine=client.machine,
        backstore=names.backstore(client.machine),
        serial=site.serial(client.machine),
        path=names.overlay_path(pool, overlay) if overlay else names.golden_path(pool, client.boot.image, version),
        size=size,
        initiator=client.initiator,
        portal=client.portal,
        readonly=overlay is None,
        durable=client.boot.persistence == "keep",
    )
    return Disk(target, version, overlay, create)
