"""The kernel's iSCSI target, asked from the event loop: every look and every act in a thread that may be left behind."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TypeVar

from controller.adapters import lio_read as read
from controller.adapters.configfs import ConfigFs
from controller.adapters.lio_check import Sizes, size_of
from controller.adapters.lio_read import Place
from controller.adapters.lio_write import Writer, failure
from controller.adapters.workers import Job, Stuck, Workers
from controller.core import names
from controller.core.names import Site
from controller.core.steps import PublishTarget, WithdrawTarget
from controller.core.world import Login, TargetState
from controller.ports.host import EffectFailed, EffectRefused, LioState
from manifests.types import Iqn, shown

T = TypeVar("T")
# The removal of a portal waits for a login that is being negotiated, up to the kernel's login_timeout of 15 s.
_DEADLINE = 30.0
_LOOK, _BATCH = 5.0, 64
_WHOLE = "lio"


class KernelLio:
    """Lio over a ConfigFs. ``sizes`` tells a backing file's size; ``deadline`` is seconds for one action; ``workers``
    are the threads that it is done in."""

    def __init__(
        self,
        fs: ConfigFs,
        site: Site,
        *,
        sizes: Sizes = size_of,
        deadline: float = _DEADLINE,
        workers: Workers | None = None,
    ) -> None:
        self._fs = fs
        self._site = site
        self._sizes = sizes
        self._workers = workers or Workers()
        self._deadline = deadline
        self._look_deadline = min(deadline, _LOOK)
        self._last: dict[Iqn, TargetState] = {}

    async def observe(self, iqns: Collection[Iqn] | None) -> LioState:
        problem_or_listing = await self._listed(whole=iqns is None)
        if isinstance(problem_or_listing, str):
            return LioState({}, unreadable={_WHOLE: problem_or_listing})
        ours, foreign = problem_or_listing
        found: dict[Iqn, TargetState | None] = {}
        unreadable: dict[str, str] = {}
        await self._each(sorted(ours) if iqns is None else sorted(iqns), self._state, found, unreadable)
        states = {iqn: self._known(iqn, state) for iqn, state in found.items() if state}
        self._last = states if iqns is None else {**self._last, **states}
        return LioState(states, foreign, unreadable)

    def _known(self, iqn: Iqn, state: TargetState) -> TargetState:
        """The very state of the last look if it is the same: thousands of equal ones would be kept for nothing."""
        last = self._last.get(iqn)
        return last if last == state else state

    async def logins(self, targets: Mapping[Iqn, Iqn]) -> Mapping[Iqn, tuple[Login, str | None]]:
        found: dict[Iqn, tuple[Login, str | None]] = {}
        unreadable: dict[str, str] = {}
        await self._each(sorted(targets), lambda fs, iqn: self._login(fs, iqn, targets[iqn]), found, unreadable)
        return found | {Iqn.parse(iqn): (Login.UNKNOWN, None) for iqn in unreadable}

    async def publish(self, action: PublishTarget) -> None:
        await self._act(action.target.iqn, lambda writer: writer.publish(action))

    async def withdraw(self, action: WithdrawTarget) -> None:
        await self._act(action.iqn, lambda writer: writer.withdraw(action))

    async def _act(self, iqn: Iqn, work: Callable[[Writer], None]) -> None:
        def inside(job: Job) -> None:
            fs = _Checked(self._fs, job)
            try:
                work(Writer(fs, self._site, self._sizes))
            except OSError as error:
                problem = fs.problem()
                if problem is None:
                    raise
                raise EffectRefused("LioAbsent", problem) from error

        try:
            await self._workers.run(iqn, inside, self._deadline)
        except Stuck as stuck:
            raise EffectFailed("KernelTimeout", f"target {shown(iqn)}: {stuck}") from stuck
        except OSError as error:
            raise failure(error, f"target {shown(iqn)}") from error

    async def _listed(self, *, whole: bool) -> str | tuple[frozenset[Iqn], tuple[str, ...]]:
        """Ours and the foreign ones by name; or why there is no telling."""

        def inside(job: Job) -> str | tuple[frozenset[Iqn], tuple[str, ...]]:
            fs = _Checked(self._fs, job)
            return fs.problem() or (self._listing(fs) if whole else (frozenset(), ()))

        try:
            return await self._workers.run(object(), inside, self._look_deadline)
        except Stuck as stuck:
            return str(stuck)
        except OSError as error:
            return str(failure(error, "listing the targets"))

    def _listing(self, fs: ConfigFs) -> tuple[frozenset[Iqn], tuple[str, ...]]:
        ours: set[Iqn] = set()
        foreign: list[str] = []
        for name in read.listing(fs, "iscsi"):
            parts = self._site.parse_target(name)
            if parts:
                ours.add(self._site.target(*parts))
            elif name.startswith(("iqn.", "eui.", "naa.")):
                foreign.append(name)
        for hba in fs.listdir("core"):
            for name in fs.listdir(f"core/{hba}") if "_" in hba else ():
                parts, device = names.parse_backstore(name), f"core/{hba}/{name}"
                place = Place.of(self._site, self._site.target(*parts)) if parts else None
                if place and place.home == device and place.iqn in ours:
                    continue  # whose it is, the look at its target says
                if place and hba.startswith("fileio_") and read.is_ours(fs, place, device):
                    ours.add(place.iqn)
                elif name not in ("hba_info", "hba_mode"):
                    foreign.append(f"{hba}/{name}")
        return frozenset(ours), tuple(sorted(foreign))

    def _state(self, fs: ConfigFs, iqn: Iqn) -> TargetState | None:
        place = Place.of(self._site, iqn)
        if place is None:
            raise OSError("is not a target of this site")
        return read.state(fs, place)[0]

    def _login(self, fs: ConfigFs, iqn: Iqn, initiator: Iqn) -> tuple[Login, str | None]:
        place = Place.of(self._site, iqn)
        if place is None:
            raise OSError("is not a target of this site")
        return read.sessions(fs, place).get(Iqn.parse(initiator), (Login.NONE, None))

    async def _each(
        self, iqns: Iterable[Iqn], look: Callable[[ConfigFs, Iqn], T], found: dict[Iqn, T], unreadable: dict[str, str]
    ) -> None:
        """Some at a time in one thread. One at which the kernel hangs is unreadable; a new thread takes the rest."""
        rest = []
        for iqn in iqns:
            call = self._workers.hung(iqn)
            if call:
                unreadable[iqn] = f"the kernel does not answer: {call} has not returned"
            else:
                rest.append(iqn)
        while rest:
            some, at = rest[:_BATCH], [0]
            work = partial(self._some, some=some, at=at, look=look, found=found, unreadable=unreadable)
            try:
                await self._workers.run(object(), work, self._look_deadline)
                rest = rest[_BATCH:]
            except Stuck as stuck:
                hung = some[at[0]]
                unreadable[hung] = str(stuck)
                self._workers.fence(hung, stuck.job)
                rest = rest[at[0] + 1 :]

    def _some(
        self,
        job: Job,
        some: list[Iqn],
        at: list[int],
        look: Callable[[ConfigFs, Iqn], T],
        found: dict[Iqn, T],
        unreadable: dict[str, str],
    ) -> None:
        for at[0], iqn in enumerate(some):
            try:
                found[iqn] = _steady(partial(_once, self._fs, job, look, iqn))
            except OSError as error:
                unreadable[iqn] = str(failure(error, "it cannot be read"))


def _once(fs: ConfigFs, job: Job, look: Callable[[ConfigFs, Iqn], T], iqn: Iqn) -> T:
    return look(_Once(fs, job), iqn)


def _steady(look: Callable[[], T]) -> T:
    """What vanishes between two reads is looked at again."""
    for _ in range(3):
        try:
            return look()
        except FileNotFoundError:
            continue
    return look()


class _Checked:
    """A ConfigFs that goes no further once its job is abandoned, and notes what it is doing."""

    def __init__(self, fs: ConfigFs, job: Job) -> None:
        self._fs = fs
        self._job = job

    def mkdir(self, path: str) -> None:
        self._job.check(f"mkdir {path}")
        self._fs.mkdir(path)

    def rmdir(self, path: str) -> None:
        self._job.check(f"rmdir {path}")
        self._fs.rmdir(path)

    def symlink(self, source: str, path: str) -> None:
        self._job.check(f"symlink {path}")
        self._fs.symlink(source, path)

    def unlink(self, path: str) -> None:
        self._job.check(f"unlink {path}")
        self._fs.unlink(path)

    def readlink(self, path: str) -> str:
        self._job.check(f"readlink {path}")
        return self._fs.readlink(path)

    def read(self, path: str) -> str:
        self._job.check(f"read {path}")
        return self._fs.read(path)

    def write(self, path: str, value: str) -> None:
        self._job.check(f"write {path}")
        self._fs.write(path, value)

    def listdir(self, path: str) -> tuple[str, ...]:
        self._job.check(f"list {path}")
        return self._fs.listdir(path)

    def exists(self, path: str) -> bool:
        self._job.check(f"stat {path}")
        return self._fs.exists(path)

    def problem(self) -> str | None:
        self._job.check("list core")
        return self._fs.problem()


class _Once(_Checked):
    """For one look at one target: nothing is read twice, so that the look is cheap and says one thing of each part."""

    def __init__(self, fs: ConfigFs, job: Job) -> None:
        super().__init__(fs, job)
        self._listed: dict[str, tuple[str, ...]] = {}
        self._read: dict[str, str] = {}
        self._led: dict[str, str] = {}

    def listdir(self, path: str) -> tuple[str, ...]:
        found = self._listed.get(path)
        if found is None:
            self._job.check(path)
            found = self._listed[path] = self._fs.listdir(path)
        return found

    def read(self, path: str) -> str:
        found = self._read.get(path)
        if found is None:
            self._job.check(path)
            found = self._read[path] = self._fs.read(path)
        return found

    def readlink(self, path: str) -> str:
        found = self._led.get(path)
        if found is None:
            self._job.check(path)
            found = self._led[path] = self._fs.readlink(path)
        return found
