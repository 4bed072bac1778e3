"""A boot server and a store that outlive the daemon, and a daemon that can lose its memory at any call.

The kernel is the fake configfs that passes the contract suite of the real one, under the real adapter; so every single
mkdir, link and write in the kernel is a place to crash at.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from controller.adapters.lio import KernelLio
from controller.adapters.simulated.configfs import FakeConfigFs
from controller.adapters.simulated.pool import MemoryPool
from controller.adapters.simulated.services import MemoryDhcp, MemoryTftp
from controller.core.names import OverlayName, Site
from controller.core.render import ipxe
from controller.core.targets import difference, facts
from controller.core.world import Target
from controller.ports import Store
from controller.shell.observe import Host
from controller.shell.reconcile import Reconciler, Report
from manifests.kinds import KINDS, Object
from tests.fakes_store import MemoryStore

SITE = Site("iqn.2026-01.internal.ggnet", "lab", "s1")
POOL = "/pool"
SIZE = 4096


class Crash(BaseException):
    """The process dies here; nothing below may catch it."""


_LOOKS = frozenset(
    {"read", "readlink", "listdir", "exists", "problem", "get", "fetch", "list", "versions", "orphans", "next_due"}
)


@dataclass
class Meter:
    """Counts the moments at which a process can die, and makes it die at one of them.

    To die before or after a look is to die before the next effect, so only effects are counted.
    """

    at: int | None = None
    count: int = 0

    def __call__(self, when: str, call: str, subject: object) -> None:
        if call in _LOOKS:
            return
        self.count += 1
        if self.count == self.at:
            raise Crash


@dataclass
class TickingClock:
    """Moves by three seconds at each look, so that nothing may depend on the clock standing still."""

    time: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    seconds: float = 0.0

    def now(self) -> datetime:
        self.time += timedelta(seconds=3)
        return self.time

    def monotonic(self) -> float:
        self.seconds += 3
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class MeteredStore:
    """The store, with a place to die before and after each call."""

    def __init__(self, store: MemoryStore, meter: Callable[[str, str, object], None]) -> None:
        self._store, self._meter = store, meter

    def __getattr__(self, name: str) -> object:
        call = getattr(self._store, name)

        async def metered(*words: object, **named: object) -> object:
            self._meter("before", name, words)
            answer = await call(*words, **named)
            self._meter("after", name, words)
            return answer

        return metered


@dataclass
class World:
    """What stands outside of the daemon: the kernel, the pool, the TFTP tree, dhcpd, the store."""

    kernel: FakeConfigFs = field(init=False)
    pool: MemoryPool = field(default_factory=MemoryPool)
    tftp: MemoryTftp = field(default_factory=lambda: MemoryTftp(SITE))
    dhcp: MemoryDhcp = field(default_factory=lambda: MemoryDhcp(SITE))
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: TickingClock = field(default_factory=TickingClock)

    def __post_init__(self) -> None:
        self.kernel = FakeConfigFs(create_file=lambda path: None)
        self.pool.put("demo.raw", bytes(SIZE))

    async def daemon(self, meter: Callable[[str, str, object], None] = lambda *_: None) -> Reconciler:
        """A process that has just started: it remembers nothing."""
        self.kernel.hook = self.tftp.hook = self.dhcp.hook = self.pool.hook = meter
        lease = await self.store.acquire("controller/s1", "s1@test", self.clock.now(), 1e6)
        assert lease is not None
        lio = KernelLio(self.kernel, SITE, sizes=self.pool.size_of)
        store: Store = MeteredStore(self.store, meter)  # type: ignore[assignment]
        return Reconciler(store, Host(lio, self.pool, self.tftp, self.dhcp, POOL), SITE, self.clock, lease)

    async def commit(self, objects: Iterable[Object]) -> None:
        """The whole set, as a source would hand it in."""
        await self.store.put(tuple(objects), "git:site", self.clock.now(), prune=True)

    async def facts(self) -> dict[str, dict[str, str]]:
        """What the kernel exports, by target, asked of it anew."""
        seen = await KernelLio(self.kernel, SITE, sizes=self.pool.size_of).observe(None)
        return {iqn: dict(state.facts) for iqn, state in seen.targets.items()}


async def settle(daemon: Reconciler, passes: int = 8) -> Report:
    """Passes over everything until one does nothing; the world may take a few."""
    await daemon.store.reopen()
    for _ in range(passes):
        claims = await daemon.store.claim(daemon.clock.now(), 100)
        report = await daemon.reconcile(None)
        await daemon.store.done(claims)
        if not report.results and not claims:
            return report
    raise AssertionError(f"still busy after {passes} passes: {[result.step.action for result in report.results]}")


def thing(kind: str, name: str, **spec: object) -> Object:
    return KINDS[kind].model_validate({"kind": kind, "metadata": {"name": name}, "spec": spec})


def site(*running: str, stopped: tuple[str, ...] = (), image: str = "demo") -> list[Object]:
    """A network, an image, and machines that run it or have stopped."""
    macs = {name: f"52:54:00:00:01:{int(name.removeprefix('pc')):02x}" for name in (*running, *stopped)}
    return [
        thing("Network", "main", cidr="10.77.0.0/24", serverAddress="10.77.0.1"),
        thing("Image", image, source={"path": f"{image}.raw"}),
        *(thing("Machine", name, macs=[mac], address=f"10.77.0.{50 + int(name[2:])}") for name, mac in macs.items()),
        *(thing("Session", name, machine=name, image=image) for name in running),
        *(thing("Session", name, machine=name, image=image, state="stopped") for name in stopped),
    ]


async def wrong(world: World, running: Iterable[str], image: str = "demo", version: int = 1) -> list[str]:
    """What of the world is not as these running machines want it: asked of the world, told from no plan and no status."""
    found: list[str] = []
    exported = await world.facts()
    names = {text: OverlayName.parse(text) for text in world.pool.overlays}
    scripts = {path: text for path, text in world.tftp.files.items() if path.startswith("ggnet/machines/")}
    for machine in running:
        overlays = [text for text, name in names.items() if name and name.machine == machine]
        if len(overlays) != 1:
            found.append(f"{machine} has {len(overlays)} overlays")
            continue
        name = names[overlays[0]]
        if name is None or (name.image, name.version) != (image, version):
            found.append(f"{machine} runs {name}")
        mac = f"52-54-00-00-01-{int(machine[2:]):02x}"
        iqn, initiator = SITE.target(machine), SITE.initiator(machine)
        target = Target(
            iqn,
            machine,
            f"ggnet-{machine}-os",
            SITE.serial(machine),
            f"{POOL}/overlays/{overlays[0]}",
            SIZE,
            initiator,
            "10.77.0.1:3260",
        )
        found += [f"{iqn}: {change}" for change in difference(facts(target), exported.pop(iqn, {}))]
        script = ipxe.machine_script(SITE, machine, initiator, "10.77.0.1:3260", iqn).encode()
        if scripts.pop(f"ggnet/machines/{mac}.ipxe", None) != script:
            found.append(f"{machine} has no right boot script")
        if world.dhcp.loaded is None or f"hardware ethernet {mac.replace('-', ':')};" not in world.dhcp.loaded:
            found.append(f"dhcpd does not answer {machine}")
    wanted = set(running)
    found += [f"{iqn} is left over" for iqn in exported]
    found += [f"{path} is left over" for path in scripts]
    found += [f"{text} is left over" for text, name in names.items() if name is None or name.machine not in wanted]
    return found
