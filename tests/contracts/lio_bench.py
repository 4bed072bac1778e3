"""What a test of the target needs, on the fake or on a real kernel: a site, files to serve, a foreign target, a client."""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from controller.adapters.configfs import ConfigFs, KernelConfigFs
from controller.adapters.lio import KernelLio
from controller.adapters.simulated.configfs import FakeConfigFs
from controller.core import names
from controller.core.desired import Target
from controller.core.names import Site
from controller.core.steps import PublishTarget, WithdrawTarget
from manifests.types import Iqn
from tests.initiator import logged_in

MOUNT = Path("/sys/kernel/config")
# These tests empty the kernel that they run on: only one that lives in user mode, inside the lab, may be it.
_LAB = "User Mode Linux" in Path("/proc/cpuinfo").read_text(errors="replace") and (MOUNT / "target").exists()
DOORS = ["kernel"] if _LAB else ["fake"]
SITE = Site(site="lab")
PORTAL = "127.0.0.1:3260"
FOREIGN = Iqn.parse("iqn.2001-04.org.example:disk1")
CLIENT = "iqn.2001-04.org.example:client"
SIZE = 1 << 20


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Watched:
    """A ConfigFs that counts what changes something, and can die before or after the n-th of those."""

    fs: ConfigFs
    writes: list[str] = field(default_factory=list)
    die: tuple[int, str] | None = None

    def _do(self, what: str, effect: Callable[[], None]) -> None:
        self.writes.append(what)
        if self.die == (len(self.writes), "before"):
            raise Crash
        try:
            effect()
        finally:
            if self.die == (len(self.writes), "after"):
                raise Crash

    def mkdir(self, path: str) -> None:
        self._do(f"mkdir {path}", lambda: self.fs.mkdir(path))

    def rmdir(self, path: str) -> None:
        self._do(f"rmdir {path}", lambda: self.fs.rmdir(path))

    def symlink(self, source: str, path: str) -> None:
        self._do(f"symlink {path}", lambda: self.fs.symlink(source, path))

    def unlink(self, path: str) -> None:
        self._do(f"unlink {path}", lambda: self.fs.unlink(path))

    def write(self, path: str, value: str) -> None:
        self._do(f"write {path} {value}", lambda: self.fs.write(path, value))

    def readlink(self, path: str) -> str:
        return self.fs.readlink(path)

    def read(self, path: str) -> str:
        return self.fs.read(path)

    def listdir(self, path: str) -> tuple[str, ...]:
        return self.fs.listdir(path)

    def exists(self, path: str) -> bool:
        return self.fs.exists(path)

    def problem(self) -> str | None:
        return self.fs.problem()


@dataclass
class Bench:
    fs: ConfigFs
    folder: Path
    client: Callable[[Target], AbstractContextManager[None]]

    @property
    def lio(self) -> KernelLio:
        """A controller that has just started."""
        return KernelLio(self.fs, SITE)

    def watched(self, die: tuple[int, str] | None = None) -> tuple[KernelLio, list[str]]:
        fs = Watched(self.fs, die=die)
        return KernelLio(fs, SITE), fs.writes

    def target(self, machine: str = "pc07", size: int = SIZE, *, readonly: bool = False) -> Target:
        path = self.folder / f"{machine}-{size}.raw"
        with path.open("ab") as file:
            file.truncate(size)
        return Target(
            iqn=SITE.target(machine),
            machine=machine,
            backstore=names.backstore(machine),
            serial=SITE.serial(machine),
            path=str(path),
            size=size,
            initiator=SITE.initiator(machine),
            portal=PORTAL,
            readonly=readonly,
        )

    def holds(self, path: str) -> bool:
        return Path(path).exists()

    async def published(self, machine: str = "pc07", *, readonly: bool = False) -> Target:
        target = self.target(machine, readonly=readonly)
        await self.lio.publish(PublishTarget(target))
        return target

    async def facts(self, target: Target) -> dict[str, str] | None:
        state = (await self.lio.observe([target.iqn])).targets.get(target.iqn)
        return dict(state.facts) if state else None

    async def withdraw(self, target: Target, *, cut: bool = False) -> None:
        await self.lio.withdraw(WithdrawTarget(target.iqn, cut))

    def device(self, target: Target) -> str:
        for hba in self.fs.listdir("core"):
            if self.fs.exists(f"core/{hba}/{target.backstore}"):
                return f"core/{hba}/{target.backstore}"
        raise LookupError(target.backstore)

    def make_device(self, hba: str, name: str, serial: str) -> str:
        """By hand, as an administrator would."""
        path, device = self.folder / f"{hba}-{name}.img", f"core/{hba}/{name}"
        with path.open("ab") as file:
            file.truncate(SIZE)
        for folder in (f"core/{hba}", device):
            if not self.fs.exists(folder):
                self.fs.mkdir(folder)
        self.fs.write(f"{device}/control", f"fd_dev_name={path},fd_dev_size={SIZE}")
        self.fs.write(f"{device}/wwn/vpd_unit_serial", serial)
        self.fs.write(f"{device}/enable", "1")
        return device

    def make_foreign(self) -> tuple[str, ...]:
        """A target that is not ours; the folders that must not change."""
        device = self.make_device("fileio_0", "theirs", "11111111-2222-3333-4444-555555555555")
        target = f"iscsi/{FOREIGN}"
        for folder in (target, f"{target}/tpgt_1", f"{target}/tpgt_1/lun/lun_0", f"{target}/tpgt_1/acls/{CLIENT}"):
            self.fs.mkdir(folder)
        self.fs.symlink(device, f"{target}/tpgt_1/lun/lun_0/theirs")
        self.fs.mkdir(f"{target}/tpgt_1/acls/{CLIENT}/lun_0")
        self.fs.symlink(f"{target}/tpgt_1/lun/lun_0", f"{target}/tpgt_1/acls/{CLIENT}/lun_0/theirs")
        self.fs.mkdir(f"{target}/tpgt_1/np/{PORTAL}")
        self.fs.write(f"{target}/tpgt_1/enable", "1")
        return "core/fileio_0", target


def tree(fs: ConfigFs, path: str) -> dict[str, str]:
    """Everything below a folder, byte for byte, but for the kernel's counters."""
    try:
        names_in_it = fs.listdir(path)
    except NotADirectoryError:
        return {path: _value(fs, path)}
    except FileNotFoundError:
        return {}
    found = {f"{path}/": ""}
    for name in names_in_it:
        below = f"{path}/{name}" if path else name
        try:
            found[below] = f"-> {fs.readlink(below)}"
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            if name not in ("statistics", "fabric_statistics", "hba_info"):
                found |= tree(fs, below)
    return found


def _value(fs: ConfigFs, path: str) -> str:
    try:
        return fs.read(path)
    except OSError as error:
        return str(error.errno)


def wipe(fs: ConfigFs) -> None:
    """An empty kernel."""
    if not fs.exists("iscsi"):
        fs.mkdir("iscsi")
    for target in (f"iscsi/{name}" for name in fs.listdir("iscsi") if name.startswith("iqn.")):
        for tpg in (f"{target}/{name}" for name in fs.listdir(target) if name.startswith("tpgt_")):
            fs.write(f"{tpg}/enable", "0")
            _empty(fs, f"{tpg}/np")
            for acl in fs.listdir(f"{tpg}/acls"):
                _empty(fs, f"{tpg}/acls/{acl}")
            _empty(fs, f"{tpg}/acls")
            _empty(fs, f"{tpg}/lun")
            fs.rmdir(tpg)
        fs.rmdir(target)
    for hba in (f"core/{name}" for name in fs.listdir("core") if "_" in name):
        _empty(fs, hba)
        fs.rmdir(hba)


def _empty(fs: ConfigFs, folder: str) -> None:
    """Removes what was made in a folder: a LUN's link, then the folder that held it."""
    for name in fs.listdir(folder):
        path = f"{folder}/{name}"
        if name.startswith("lun_"):
            for inner in fs.listdir(path):
                try:
                    fs.readlink(f"{path}/{inner}")
                except OSError:
                    continue
                fs.unlink(f"{path}/{inner}")
        try:
            fs.rmdir(path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTDIR):
                raise


def other_path(bench: Bench, target: Target) -> Target:
    """The same target, for another disk."""
    return replace(target, path=bench.target(target.machine, 2 * SIZE).path, size=2 * SIZE)


@contextmanager
def bench_on(door: str, folder: Path) -> Iterator[Bench]:
    if door == "fake":
        fake = FakeConfigFs()

        @contextmanager
        def pretend(target: Target) -> Iterator[None]:
            acl = f"iscsi/{target.iqn}/tpgt_1/acls/{target.initiator}"
            fake.login(acl, "127.0.0.1")
            yield
            fake.logout(acl)

        yield Bench(fake, folder, pretend)
        return

    @contextmanager
    def really(target: Target) -> Iterator[None]:
        address, _, port = target.portal.rpartition(":")
        with logged_in((address, int(port)), target.initiator, target.iqn):
            yield

    kernel = KernelConfigFs(MOUNT)
    wipe(kernel)
    yield Bench(kernel, folder, really)
    wipe(kernel)
