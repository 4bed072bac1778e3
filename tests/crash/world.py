"""A boot server and a store that outlive the daemon, and a daemon that can lose its memory at any call.

The kernel is the fake configfs that passes the contract suite of the real one, under the real adapter; so every single
mkdir, link and write in the kernel is a place to crash at. Everything happens in one thread: a run is repeatable.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from controller.adapters.configfs import ConfigFs
from controller.adapters.lio import KernelLio
from controller.adapters.simulated.configfs import FakeConfigFs
from controller.adapters.simulated.pool import MemoryPool
from controller.adapters.simulated.services import MemoryDhcp, MemoryTftp
from controller.adapters.workers import Job, Workers
from controller.core.desired import Desired
from controller.core.names import OverlayName, Site
from controller.core.observed import Observed
from controller.core.plan import plan
from controller.core.steps import Plan
from controller.ports.store import Lease, StatusWrite, Store
from controller.shell.observe import Host
from controller.shell.reconcile import Reconciler, Report
from manifests.kinds import Object
from tests.crash.faults import LOOKS, Fault
from tests.crash.guard import Guard
from tests.crash.sites import POOL, SITE, SIZE, SOURCE, Pc
from tests.fakes_store import MemoryStore

T = TypeVar("T")
Decide = Callable[[Desired, Observed, Site], Plan]
_HER_TARGET = "iqn.2003-01.org.elsewhere:files"
_HER_SCRIPT = "ggnet/machines/52-54-00-ff-ff-ff.ipxe"


def nothing(when: str, call: str, subject: object) -> None:
    """Lets everything happen."""


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


class InLine(Workers):
    """Threads that are none: the same run twice takes the same steps in the same order."""

    async def run(self, key: object, work: Callable[[Job], T], deadline: float) -> T:
        return work(Job())


class WatchedStore:
    """The store, with a place to die before and after each call, and a guard at each status that is written."""

    def __init__(self, store: MemoryStore, world: "World") -> None:
        self._store, self._world = store, world

    def __getattr__(self, name: str) -> object:
        call = getattr(self._store, name)

        async def watched(*words: object, **named: object) -> object:
            self._world.hook("before", name, words)
            answer = await call(*words, **named)
            self._world.hook("after", name, words)
            return answer

        return watched

    async def report(self, lease: Lease, *, statuses: Sequence[StatusWrite] = (), **rest: Any) -> int:
        self._world.hook("before", "report", statuses)
        before = await self._store.fetch([write.key for write in statuses])
        written = await self._store.report(lease, statuses=statuses, **rest)
        for key, after in (await self._store.fetch(before)).items():
            old, new = before[key].status, after.status
            if new is not None:
                self._world.guard.status(key, old.wire() if old else None, new.wire())
        self._world.hook("after", "report", statuses)
        return written


@dataclass
class World:
    """What stands outside of the daemon: the kernel, the pool, the TFTP tree, dhcpd, the store; and somebody else's
    things among them."""

    kernel: FakeConfigFs = field(init=False)
    pool: MemoryPool = field(default_factory=MemoryPool)
    tftp: MemoryTftp = field(default_factory=lambda: MemoryTftp(SITE))
    dhcp: MemoryDhcp = field(default_factory=lambda: MemoryDhcp(SITE))
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: TickingClock = field(default_factory=TickingClock)
    fault: Fault = nothing
    process: type[Reconciler] = Reconciler
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        self.kernel = FakeConfigFs(create_file=lambda path: None, is_device=self.pool.serves)
        self.pool.opened, self.pool.clock = self.kernel.opens, self.clock
        for name in ("demo", "other"):
            self.pool.put(f"{name}.raw", bytes([len(name)]) * SIZE)
        self.move_in()
        self.guard = Guard(self)
        self.guard.start()
        self.kernel.hook = self.tftp.hook = self.dhcp.hook = self.pool.hook = self.hook

    def move_in(self) -> None:
        """Somebody else uses this boot server too."""
        self.move_in_again()
        self.tftp.files |= {
            "pxelinux.0": b"\x7fPXE",
            _HER_SCRIPT: b"#!ipxe\nsanboot iscsi:10.9.9.9::3260:0:iqn.2003-01.x:y\n",
        }
        self.pool.overlays["holiday.raw"] = bytearray(b"sea")
        self.dhcp.administrator = frozenset({"printer"})

    def move_in_again(self) -> None:
        """Her target, which she sets up again after each restart of the boot server."""
        kernel, device, group = self.kernel, "core/fileio_0/files", f"iscsi/{_HER_TARGET}/tpgt_1"
        for folder in ("core/fileio_0", device):
            kernel.mkdir(folder)
        kernel.write(f"{device}/control", "fd_dev_name=/srv/files.raw,fd_dev_size=1048576")
        kernel.write(f"{device}/enable", "1")
        for folder in (group.rpartition("/")[0], group, f"{group}/lun/lun_0", f"{group}/np/10.77.0.1:3261"):
            kernel.mkdir(folder)
        kernel.symlink(device, f"{group}/lun/lun_0/files")
        kernel.write(f"{group}/enable", "1")

    def foreign(self) -> Mapping[str, object]:
        """All that is not ours, by name, as it is now."""
        return {
            "target": self.kernel.below(f"iscsi/{_HER_TARGET}"),
            "backstore": self.kernel.below("core/fileio_0"),
            "program": self.tftp.files.get("pxelinux.0"),
            "script": self.tftp.files.get(_HER_SCRIPT),
            "file in the pool": bytes(self.pool.overlays.get("holiday.raw", b"")),
        }

    def hook(self, when: str, call: str, subject: object) -> None:
        if when == "after" and call not in LOOKS:
            self.guard.look(call, subject)
        self.fault(when, call, subject)

    @contextmanager
    def by_hand(self) -> Iterator[None]:
        """What is done in here somebody else does."""
        self.kernel.hook = nothing
        try:
            yield
        finally:
            self.kernel.hook = self.hook
            self.guard.after_damage()

    def host(self) -> Host:
        return Host(self.lio(self.kernel), self.pool, self.tftp, self.dhcp, POOL)

    def lio(self, fs: ConfigFs) -> KernelLio:
        return KernelLio(fs, SITE, sizes=self.pool.size_of, workers=InLine())

    def decide(self) -> Decide:
        return plan

    async def daemon(self, fault: Fault = nothing, holder: str = "s1@test", seconds: float = 1e7) -> Reconciler:
        """A process that has just started: it remembers nothing."""
        self.fault = fault
        lease = await self.store.acquire("controller/s1", holder, self.clock.now(), seconds)
        assert lease is not None
        store: Store = WatchedStore(self.store, self)  # type: ignore[assignment]
        return self.process(store, self.host(), SITE, self.clock, lease, self.decide())

    def holds(self, path: str) -> bool:
        return self.pool.serves(path)

    def disrupted(self) -> frozenset[str]:
        """The ACLs of machines for which somebody asked by name that a running PC may be cut."""
        rows = self.store._rows
        names = {key.partition("/")[2] for key, row in rows.items() if row.annotations.get("ggnet/disruption") == "allowed"}
        return frozenset(f"iscsi/{SITE.target(name)}/tpgt_1/acls/{SITE.initiator(name)}" for name in names)

    async def commit(self, objects: Iterable[Object]) -> None:
        """The whole set, as a source would hand it in."""
        await self.store.put(tuple(objects), SOURCE, self.clock.now(), prune=True)

    def boots(self, pc: Pc) -> bool:
        """The PC is switched on: it follows its script, if there is one that leads to a disk."""
        if pc.script not in self.tftp.files or self.kernel.disk(pc.acl, "10.77.0.1:3260") is None:
            return False
        self.kernel.login(pc.acl)
        self.guard.login(pc.acl)
        return True

    def shuts_down(self, acl: str) -> None:
        self.guard.live.pop(acl, None)
        self.kernel.logout(acl)


W = TypeVar("W", bound=World)


@dataclass(frozen=True)
class Passed(Generic[W]):
    """One of the host's ports as this world shows it: what it does not say anew goes to the real one."""

    real: Any
    world: W

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def of_snapshots() -> World:
    """One whose disks are snapshots."""
    return World(pool=MemoryPool(driver="snapshot"))


class Busy(AssertionError):
    """It does not come to rest."""


async def settle(daemon: Reconciler, passes: int = 8) -> Report:
    """Passes over everything until one does nothing; the world may take a few."""
    await daemon.store.reopen()
    for _ in range(passes):
        claims = await daemon.store.claim(daemon.clock.now(), 1000)
        report = await daemon.reconcile(None)
        await daemon.store.done(claims)
        if not report.results and not claims:
            return report
    raise Busy(f"still busy after {passes} passes: {[result.step.action for result in report.results]}")


def overlays(world: World) -> dict[str, list[OverlayName]]:
    """Overlays of ours by machine."""
    found: dict[str, list[OverlayName]] = {}
    for name in filter(None, map(OverlayName.parse, world.pool.overlays)):
        found.setdefault(name.machine, []).append(name)
    return found
