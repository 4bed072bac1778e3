"""A boot server with thousands of machines that is just as it must be: real files, a real dhcpd, a SQLite store.

The one thing that is not real is the kernel's target: LIO needs a kernel of its own. In its place stands what the
fake configfs (which passes the real one's contract suite) holds after the real adapter published to it, either as a
plain-directory tree that ``KernelConfigFs`` reads by real system calls, or in memory, where it can be written too.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from controller.adapters import migrate
from controller.adapters.clock import SystemClock
from controller.adapters.configfs import ConfigFs, KernelConfigFs
from controller.adapters.lio import KernelLio
from controller.adapters.lio_read import Place
from controller.adapters.pool import PoolDir
from controller.adapters.simulated.configfs import FakeConfigFs
from controller.adapters.store import SqlStore
from controller.adapters.tftp import TftpTree
from controller.core import names, scripts
from controller.core.desired import Client, Desired, Target
from controller.core.render import ipxe
from controller.core.resolve import resolve
from controller.core.steps import LoadDhcp, PublishTarget
from controller.ports.store import Lease
from controller.shell.observe import Host
from controller.shell.reconcile import Reconciler
from manifests.load import load
from tests.bench.documents import SERVER, SITE, SIZE, sessions, text
from tests.contracts.dhcp_rigs import IscRig

MANAGER = "git:site"
NBPS = {"ipxe.efi": b"MZ" + b"uefi" * 250_000, "undionly.kpxe": b"bios" * 20_000}
_PATTERN = "pattern0"


@dataclass(slots=True)
class Recorder:
    """A ConfigFs that notes what is asked of it."""

    fs: ConfigFs
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def __getattr__(self, name: str) -> object:
        def call(*words: str) -> object:
            self.calls.append((name, *words))
            return getattr(self.fs, name)(*words)

        return call


@dataclass(slots=True)
class Stand:
    folder: Path
    tree: Path
    count: int
    rig: IscRig
    clients: tuple[Client, ...] = ()
    uids: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.rig.state}/ggnet.db"

    @property
    def pool(self) -> Path:
        return self.rig.state / "pool"

    @property
    def tftp(self) -> Path:
        return self.folder / "tftp"

    @property
    def machines(self) -> Path:
        return self.tftp / names.MACHINES_FOLDER

    def target(self, client: Client) -> Target:
        assert client.boot is not None
        overlay = names.OverlayName(client.machine, names.SYSTEM_DISK, client.boot.drives[0].image, 1, client.boot.uid)
        return Target(
            iqn=SITE.target(client.machine),
            machine=client.machine,
            backstore=names.backstore(client.machine),
            serial=SITE.serial(client.machine),
            path=names.overlay_path(str(self.pool), overlay),
            size=SIZE,
            initiator=client.initiator,
            portal=f"{SERVER}:3260",
        )

    def host(self, configfs: ConfigFs | None) -> Host:
        """``configfs`` None: a kernel with no target in it costs nothing to read."""
        return Host(
            lio=KernelLio(configfs or KernelConfigFs(self.tree), SITE, sizes=lambda path: SIZE),
            pool=PoolDir(self.pool, self.pool / "imports", reserve=0.01),
            tftp=TftpTree(self.tftp, self.folder / "nbp", SITE),
            dhcp=self.rig.server(),
            pool_dir=str(self.pool),
        )

    async def reconciler(self, store: SqlStore, configfs: ConfigFs | None = None) -> Reconciler:
        clock = SystemClock()
        lease: Lease | None = await store.acquire(f"controller/{SITE.server}", f"{SITE.server}@bench", clock.now(), 3600)
        assert lease is not None
        return Reconciler(store, self.host(configfs), SITE, clock, lease)

    def environment(self, notify: Path) -> dict[str, str]:
        """For the daemon itself."""
        return {
            "GGNET_STATE_DIR": str(self.rig.state),
            "GGNET_TFTP_ROOT": str(self.tftp),
            "GGNET_NBP_DIR": str(self.folder / "nbp"),
            "GGNET_DHCPD_INCLUDE": str(self.rig.include),
            "GGNET_DHCPD_CONF": str(self.rig.conf),
            "GGNET_DHCPD_RESTART": str(self.rig.script),
            "GGNET_DHCPD_PIDFILE": str(self.rig.pidfile),
            "GGNET_CONFIGFS": str(self.tree),
            "GGNET_SITE": SITE.site,
            "GGNET_SERVER": SITE.server,
            "NOTIFY_SOCKET": str(notify),
        }


@contextmanager
def stand(count: int) -> Iterator[Stand]:
    folder = Path(tempfile.mkdtemp(prefix="ggnet-bench-"))
    # configfs lives in memory: so does what stands in for it
    memory = Path(tempfile.mkdtemp(prefix="ggnet-bench-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    rig = IscRig(folder)
    try:
        made = Stand(folder, memory, count, rig)
        anyio.run(_build, made)
        yield made
    finally:
        rig.close()
        shutil.rmtree(folder)
        shutil.rmtree(memory)


async def _build(made: Stand) -> None:
    made.rig.state.mkdir(mode=0o750)
    await migrate.upgrade(made.url)
    store = await SqlStore.open(made.url)
    objects = load({"m.yaml": text(made.count), "s.yaml": sessions(made.count)}).objects
    await store.put(objects, MANAGER, SystemClock().now())
    listed, _ = await store.list()
    desired = resolve(listed, SITE, SystemClock().now())
    made.clients = tuple(desired.clients.values())
    _pool(made)
    _tftp(made)
    _tree(made)
    await _dhcp(made, desired)
    await _settle(made, store)
    await store.close()


def _pool(made: Stand) -> None:
    for folder in ("imports", names.GOLDEN_FOLDER, names.OVERLAY_FOLDER):
        (made.pool / folder).mkdir(parents=True, mode=0o750)
    source = made.pool / "imports" / "demo.raw"
    golden = Path(names.golden_path(str(made.pool), "demo", 1))
    for path in (source, golden):
        _sparse(path)
    stamp = {"size": SIZE, "mtime_ns": source.stat().st_mtime_ns}
    told = {"sha256": hashlib.sha256(bytes(SIZE)).hexdigest(), "size": SIZE, "source": stamp}
    golden.with_name(f"{golden.stem}.json").write_text(json.dumps(told))
    for client in made.clients:
        _sparse(Path(made.target(client).path))


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(SIZE)


def _tftp(made: Stand) -> None:
    made.machines.mkdir(parents=True)
    (made.folder / "nbp").mkdir()
    for name, data in NBPS.items():
        (made.folder / "nbp" / name).write_bytes(data)
        (made.tftp / names.BOOT_FOLDER / name).write_bytes(data)
    (made.tftp / names.BOOT_SCRIPT).write_text(ipxe.boot_script())
    for client in made.clients:
        for mac in client.macs:
            (made.tftp / names.script(mac.hyphens)).write_text(scripts.text(SITE, made.target(client)))


async def _dhcp(made: Stand, desired: Desired) -> None:
    assert desired.dhcp is not None
    refused = await made.rig.dhcp.load(LoadDhcp(desired.dhcp, 1))
    assert not refused, refused


async def _settle(made: Stand, store: SqlStore) -> None:
    """Its own first sweeps: they find all as it must be, and say so in the statuses."""
    daemon = await made.reconciler(store, KernelConfigFs(made.tree))
    while claims := await store.claim(daemon.clock.now(), 100_000):
        await store.done(claims)
    for _ in range(3):
        report = await daemon.reconcile(None)
        assert not report.results, report.results[:3]
    one = await store.get(f"Session/{made.clients[0].machine}")
    assert one.status is not None
    assert one.status.phase == "Ready", one.status
    await store.release(daemon.lease)


# --- the kernel's stand-ins -------------------------------------------------------------------------------------


def _published(made: Stand) -> tuple[Target, Recorder]:
    """One target, made in the fake by the real adapter, and every call that it took."""
    fake = Recorder(FakeConfigFs(create_file=lambda path: None))
    path = f"{made.pool}/{_PATTERN}.raw"
    initiator = SITE.initiator(_PATTERN)
    serial, backstore = SITE.serial(_PATTERN), names.backstore(_PATTERN)
    target = Target(SITE.target(_PATTERN), _PATTERN, backstore, serial, path, SIZE, initiator, f"{SERVER}:3260")

    async def publish() -> None:
        await KernelLio(fake, SITE, sizes=lambda _: SIZE).publish(PublishTarget(target))  # type: ignore[arg-type]

    _in_a_loop_of_its_own(publish)
    return target, fake


def _in_a_loop_of_its_own(work: object) -> None:
    import threading

    thread = threading.Thread(target=lambda: anyio.run(work))  # type: ignore[arg-type]
    thread.start()
    thread.join()


def _written_for(made: Stand, pattern: Target, value: str) -> Iterable[str]:
    """``value`` as it reads for each client."""
    home = re.compile(r"core/fileio_\d+")
    for client in made.clients:
        target = made.target(client)
        place = Place.of(SITE, target.iqn)
        assert place is not None
        written = value.replace(pattern.path, target.path).replace(pattern.serial, target.serial)
        yield home.sub(place.home.rpartition("/")[0], written).replace(_PATTERN, client.machine)


def _tree(made: Stand) -> None:
    """As directories, files and links: all that a look at a target reads."""
    pattern, fake = _published(made)
    folders = [("mkdir", call[1], "") for call in fake.calls if call[0] == "mkdir"]
    fake.calls.clear()

    async def look() -> None:
        await KernelLio(fake, SITE).observe(None)  # type: ignore[arg-type]

    _in_a_loop_of_its_own(look)
    root = made.tree / "target"
    (root / "core").mkdir(parents=True)
    (root / "iscsi").mkdir()
    seen = dict.fromkeys(call for call in fake.calls if call[0] in ("listdir", "read", "readlink"))
    looked = [(call, path, _content(fake.fs, call, path)) for call, path in ((c[0], c[1]) for c in seen) if "/" in path]
    commands = [*folders, *looked]
    template = "\0".join(f"{call}\1{path}\1{content}" for call, path, content in commands)
    made_folders: set[str] = set()
    for written in _written_for(made, pattern, template):
        for command in written.split("\0"):
            call, path, content = command.split("\1")
            place = f"{root}/{path}"
            folder = place if call in ("mkdir", "listdir") else os.path.dirname(place)  # noqa: PTH120
            if folder not in made_folders:
                os.makedirs(folder, exist_ok=True)  # noqa: PTH103
                made_folders.add(folder)
            if call == "read":
                fd = os.open(place, os.O_WRONLY | os.O_CREAT, 0o644)
                os.write(fd, content.encode())
                os.close(fd)
            elif call == "readlink":
                os.symlink(f"{root}/{content}", place)  # noqa: PTH211


def _content(fs: ConfigFs, call: str, path: str) -> str:
    if call == "read":
        return fs.read(path) + "\n"
    return fs.readlink(path) if call == "readlink" else ""


def in_memory(made: Stand) -> FakeConfigFs:
    """As the fake configfs, that can be written to."""
    pattern, recorded = _published(made)
    writes = [call for call in recorded.calls if call[0] in ("mkdir", "write", "symlink")]
    fake = FakeConfigFs(create_file=lambda path: None)
    template = "\0".join("\1".join(call) for call in writes)
    for written in _written_for(made, pattern, template):
        for command in written.split("\0"):
            call, path, *rest = command.split("\1")
            if call != "mkdir" or not fake.exists(path):
                getattr(fake, call)(path, *rest)
    return fake
