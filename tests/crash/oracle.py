"""What of the world is not as it is asked for: asked of the world, told from no plan and no status."""

from collections.abc import Iterable

from controller.core.names import OverlayName
from controller.core.render import dhcpd, ipxe
from controller.core.targets import difference, facts
from controller.core.world import Target
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
        if pc.persistence != "keep" and len(own) > (pc.running and pc.persistence == "ephemeral"):
            found.append(f"{pc.name} has {len(own)} overlays: {[str(name) for name in own]}")
    found += [f"{iqn} is left over" for iqn in exported]
    found += [f"{path} is left over" for path in scripts]
    found += [f"{name} is left over" for names in left.values() for name in names]
    return [*found, *_dhcp(world, pcs), *(await _unready(world, pcs) if ready else ())]


def _serves(pc: Pc, own: list[OverlayName], exported: dict[str, str], script: bytes | None) -> list[str]:
    readonly = pc.persistence == "readonly"
    mine = [name for name in own if (name.image, name.version) == (pc.image, pc.version)]
    if not readonly and len(mine) != 1:
        return [f"{pc.name} has {len(mine)} overlays of its own"]
    path = f"images/{pc.image}@v{pc.version}.raw" if readonly else f"overlays/{mine[0]}"
    iqn, initiator, backing = SITE.target(pc.name), SITE.initiator(pc.name), f"{POOL}/{path}"
    serial, backstore = SITE.serial(pc.name), f"ggnet-{pc.name}-os"
    target = Target(
        iqn, pc.name, backstore, serial, backing, SIZE, initiator, PORTAL, readonly, durable=pc.persistence == "keep"
    )
    found = [f"{iqn}: {change}" for change in difference(facts(target), exported)]
    if script != ipxe.machine_script(SITE, pc.name, initiator, PORTAL, iqn).encode():
        found.append(f"{pc.name} has no right boot script")
    return found


def _dhcp(world: World, pcs: tuple[Pc, ...]) -> list[str]:
    if world.dhcp.loaded is None:
        return ["dhcpd is down"]
    answered = dhcpd.parse_hosts(world.dhcp.loaded)
    wanted = {f"ggnet-{pc.name}-0": pc for pc in pcs}
    found = [f"dhcpd does not answer {name}" for name, pc in wanted.items() if pc.mac not in answered.get(name, "")]
    found += [f"dhcpd still answers {name}" for name in answered.keys() - wanted.keys()]
    return found + ([] if world.dhcp.loaded == world.dhcp.text else ["dhcpd has not loaded its file"])


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
