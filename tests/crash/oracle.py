"""What of the world is not as it is asked for: asked of the world, told from no plan and no status."""

from collections.abc import Iterable

from controller.core.desired import Lun, Target
from controller.core.names import OverlayName, golden_path, overlay_path
from controller.core.render import dhcpd, ipxe
from controller.core.targets import difference, facts
from manifests.image import Image
from tests.crash.sites import POOL, PORTAL, SITE, SIZE, Pc
from tests.crash.world import World, overlays


async def wrong(world: World, pcs: Iterable[Pc], *, orphans: frozenset[str] = frozenset(), ready: bool = True) -> list[str]:
    """Machines in ``orphans`` are looked away from."""
    pcs = tuple(pcs)
    found = [*world.guard.broken]
    seen = await world.lio(world.kernel).observe(None)
    exported = {iqn: dict(state.facts) for iqn, state in seen.targets.items()}
    scripts = {path: text for path, text in world.tftp.files.items() if b"# ggnet site lab" in text}
    left = overlays(world)
    for name in orphans:
        exported.pop(SITE.target(name), None)
        left.pop(name, None)
        scripts = {path: text for path, text in scripts.items() if f"machine {name}\n".encode() not in text}
    for pc in pcs:
        own = left.pop(pc.name, [])
        if pc.running:
            found += _serves(pc, own, exported.pop(SITE.target(pc.name), {}), scripts.pop(pc.script, None))
        if pc.persistence != "keep" and len(own) > len(pc.disks) * (pc.running and pc.persistence == "ephemeral"):
            found.append(f"{pc.name} has {len(own)} overlays: {[str(name) for name in own]}")
    found += [f"{iqn} is left over" for iqn in exported]
    found += [f"{path} is left over" for path in scripts]
    found += [f"{identity} is left over" for identity in world.pool.brought]
    found += [f"{name} is left over" for names in left.values() for name in names]
    return [*found, *_snapshots(world, pcs), *_dhcp(world, pcs), *(await _untold(world, pcs) if ready else ())]


def _serves(pc: Pc, own: list[OverlayName], exported: dict[str, str], script: bytes | None) -> list[str]:
    readonly = pc.persistence == "readonly"
    luns = []
    for disk, image, version in pc.disks:
        mine = [name for name in own if (name.disk, name.image, name.version) == (disk, image, version)]
        if not readonly and len(mine) != 1:
            return [f"{pc.name} has {len(mine)} overlays of its own for {disk}"]
        backing = golden_path(POOL, image, version) if readonly else overlay_path(POOL, mine[0])
        serial, durable = SITE.serial(pc.name, disk), pc.persistence == "keep"
        luns.append(Lun(f"ggnet-{pc.name}-{disk}", serial, backing, SIZE, readonly, durable))
    iqn, initiator, first = SITE.target(pc.name), SITE.initiator(pc.name), luns[0]
    target = Target(
        iqn,
        pc.name,
        first.backstore,
        first.serial,
        first.path,
        SIZE,
        initiator,
        PORTAL,
        readonly,
        durable=first.durable,
        more=tuple(luns[1:]),
    )
    found = [f"{iqn}: {change}" for change in difference(facts(target), exported)]
    if script != ipxe.machine_script(SITE, pc.name, initiator, PORTAL, iqn, len(luns)).encode():
        found.append(f"{pc.name} has no right boot script")
    return found


def _snapshots(world: World, pcs: tuple[Pc, ...]) -> list[str]:
    """A device for each store whose PC is served from it, and none without a store."""
    pool = world.pool
    found = [f"the device of {name} is left over" for name in pool.devices.values() if name not in pool.overlays]
    running = {pc.name: pc for pc in pcs if pc.running and pc.persistence != "readonly"}
    for text in filter(OverlayName.parse, pool.overlays):
        pc = running.get(text.partition(".")[0])
        if pc is None or not text.endswith(".cow"):
            continue
        if text not in pool.devices.values() or text in pool.full:
            found.append(f"{text} is not active, or takes no writes")
        if pool.asked[text][1] != (pc.persistence == "keep"):
            found.append(f"{text} is written through, or not, as its session does not want it")
    return found


def _dhcp(world: World, pcs: tuple[Pc, ...]) -> list[str]:
    if world.dhcp.loaded is None:
        return ["dhcpd is down"]
    answered = dhcpd.parse_hosts(world.dhcp.loaded)
    wanted = {f"ggnet-{pc.name}-0": pc for pc in pcs}
    found = [f"dhcpd does not answer {name}" for name, pc in wanted.items() if pc.mac not in answered.get(name, "")]
    found += [f"dhcpd still answers {name}" for name in answered.keys() - wanted.keys()]
    return found + ([] if world.dhcp.loaded == world.dhcp.text else ["dhcpd has not loaded its file"])


async def _untold(world: World, pcs: tuple[Pc, ...]) -> list[str]:
    """What the store tells of the pool must be what is in it."""
    objects, _ = await world.store.list()
    found = await _unready(world, pcs)
    for one in objects:
        if isinstance(one, Image) and one.metadata.deleted_at is None:
            told = {version.version for version in one.status.versions} if one.status else set()
            there = {version for name, version in world.pool.images if name == one.name}
            found += [f"{one.key} tells of {sorted(told)}, and there are {sorted(there)}"] if told != there else []
    return found


async def _unready(world: World, pcs: tuple[Pc, ...]) -> list[str]:
    """The status comes last: it must agree with the world."""
    objects, _ = await world.store.list()
    names = {f"{kind}/{pc.name}" for pc in pcs for kind in ("Machine", "Session")}
    found = []
    for one in objects:
        ready = one.status.condition("Ready") if one.status else None
        current = one.status is not None and one.status.observed_generation == one.metadata.generation
        if one.key in names and not (ready and ready.status == "True" and current):
            found.append(f"{one.key} is not Ready: {ready}")
    return found
