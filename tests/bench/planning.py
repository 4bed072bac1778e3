"""Plans in memory: everything as it must be, and nothing there yet."""

from collections.abc import Iterator, Mapping

from controller.core import names, scripts
from controller.core.desired import Desired, Target
from controller.core.observed import (
    BootFileState,
    DhcpState,
    ImageFile,
    Observed,
    OverlayFile,
    PoolState,
    SourceFile,
    Stamp,
    TargetState,
)
from controller.core.plan import plan
from controller.core.render import dhcpd, ipxe
from controller.core.resolve import resolve
from controller.core.targets import facts
from manifests.load import load
from tests.bench.documents import NOW, SERVER, SITE, SIZE, sessions, stored, text
from tests.bench.rows import Goal, Row, Turns

POOL = "/pool"
_FACTS = 10


def plan_rows(count: int, times: int) -> Iterator[Row]:
    objects = load({"m.yaml": text(count), "s.yaml": sessions(count)}).objects
    desired = resolve(stored(objects), SITE, NOW)
    there, nothing = converged(desired), empty()
    assert not plan(desired, there, SITE).steps
    full = plan(desired, nothing, SITE).steps
    assert len(full) > 3 * count
    wanted = {f"{name}/{part}": f"{part:02d}{name}" for name in desired.clients for part in range(_FACTS)}
    found = {key: "".join(value) for key, value in wanted.items()}
    turns = Turns()
    turns.run(
        times,
        quiet=lambda: plan(desired, there, SITE),
        full=lambda: plan(desired, nothing, SITE),
        floor=lambda: _differing(wanted, found),
    )
    taken, floor_is = turns.samples, f"compare {_FACTS} digests a machine"
    goal = Goal("ratio", 2.7)  # 100 ms where the floor takes 37
    yield Row("plan, nothing to do", count, taken["quiet"], taken["floor"], goal, floor_is)
    yield Row(f"plan, all to do ({len(full):,} steps)", count, taken["full"], taken["floor"], goal, floor_is)


def _differing(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    return [key for key, value in wanted.items() if found.get(key) != value]


def empty() -> Observed:
    """A boot server with an imported image and nothing served."""
    return Observed(
        pool=PoolState(
            images={"demo": {1: ImageFile(1, SIZE, "0" * 64, Stamp(SIZE, 1))}},
            sources={"demo": SourceFile(Stamp(SIZE, 1))},
            free=900 << 30,
            total=1000 << 30,
        ),
        dhcp=DhcpState(running=True),
        complete=frozenset({"pool", "lio", "tftp", "dhcp"}),
        pool_dir=POOL,
    )


def converged(desired: Desired) -> Observed:
    """All that is asked for is there."""
    base = empty()
    overlays, targets, boot = {}, {}, {ipxe_path: BootFileState(digest, True) for ipxe_path, digest in _constants().items()}
    for client in desired.clients.values():
        assert client.boot is not None
        assert client.portal is not None
        name = names.OverlayName(client.machine, names.SYSTEM_DISK, client.boot.drives[0].image, 1, client.boot.uid)
        overlays[str(name)] = OverlayFile(SIZE, "copy")
        target = Target(
            iqn=SITE.target(client.machine),
            machine=client.machine,
            backstore=names.backstore(client.machine),
            serial=SITE.serial(client.machine),
            path=names.overlay_path(POOL, name),
            size=SIZE,
            initiator=client.initiator,
            portal=f"{SERVER}:3260",
        )
        targets[target.iqn] = TargetState(facts(target))
        sha256 = scripts.sha256(scripts.text(SITE, target))
        for mac in client.macs:
            boot[names.script(mac.hyphens)] = BootFileState(sha256, True, client.machine)
    assert desired.dhcp is not None
    digest = dhcpd.digest(desired.dhcp)
    return Observed(
        pool=PoolState(base.pool.images, overlays, base.pool.sources, base.pool.free, base.pool.total),
        targets=targets,
        boot=boot,
        dhcp=DhcpState(digest, digest, True, 1, dhcpd.stanzas(desired.dhcp)),
        complete=base.complete,
        pool_dir=POOL,
    )


def _constants() -> dict[str, str]:
    return {names.BOOT_SCRIPT: scripts.sha256(ipxe.boot_script())}
