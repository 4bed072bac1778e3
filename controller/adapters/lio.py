"""The kernel's iSCSI target, asked from the event loop: every look and every act in a thread that may be left behind."""

import errno
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TypeVar

from controller.adapters import lio_auth
from controller.adapters import lio_read as read
from controller.adapters.chap import KEY_BYTES, Secret, SecretFiles, Secrets, Unusable
from controller.adapters.configfs import ConfigFs
from controller.adapters.lio_check import Sizes, size_of
from controller.adapters.lio_once import Once, Seen
from controller.adapters.lio_read import Place
from controller.adapters.lio_write import Writer, failure
from controller.adapters.workers import Job, Stuck, Workers
from controller.core import names
from controller.core.names import Site
from controller.core.observed import Login, TargetState
from controller.core.steps import PublishTarget, WithdrawTarget
from controller.ports.host import EffectFailed, EffectRefused, LioState
from manifests.types import Iqn, shown

T = TypeVar("T")
_Hbas = Mapping[str, tuple[str, ...]]
_Listing = tuple[frozenset[Iqn], tuple[str, ...], _Hbas | None]
# The removal of a portal waits for a login that is being negotiated, up to the kernel's login_timeout of 15 s.
_DEADLINE = 30.0
_LOOK, _BATCH = 5.0, 64
_WHOLE = "lio"


class KernelLio:
    """Lio over a ConfigFs. ``sizes`` tells a backing file's size; ``deadline`` is seconds for one action; ``workers``
    are the threads that it is done in; without ``secrets`` there are none."""

    def __init__(
        self,
        fs: ConfigFs,
        site: Site,
        *,
        sizes: Sizes = size_of,
        deadline: float = _DEADLINE,
        workers: Workers | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        self._fs = fs
        self._site = site
        self._sizes = sizes
        self._workers = workers or Workers()
        self._secrets = secrets or SecretFiles(os.urandom(KEY_BYTES))
        self._deadline = deadline
        self._look_deadline = min(deadline, _LOOK)
        self._seen: dict[str, Seen] = {}

    async def observe(self, iqns: Collection[Iqn] | None) -> LioState:
        problem_or_listing = await self._listed(whole=iqns is None)
        if isinstance(problem_or_listing, str):
            return LioState({}, unreadable={_WHOLE: problem_or_listing})
        ours, foreign, hbas = problem_or_listing
        found: dict[Iqn, TargetState | None] = {}
        unreadable: dict[str, str] = {}
        await self._each(sorted(ours) if iqns is None else sorted(iqns), self._state, found, unreadable, hbas)
        if iqns is None:
            for iqn in set(self._seen) - ours:  # of a machine that has gone
                self._seen.pop(iqn, None)
        return LioState({iqn: state for iqn, state in found.items() if state}, foreign, unreadable)

    async def logins(self, targets: Mapping[Iqn, Iqn]) -> Mapping[Iqn, tuple[Login, str | None]]:
        found: dict[Iqn, tuple[Login, str | None]] = {}
        unreadable: dict[str, str] = {}
        await self._each(sorted(targets), lambda fs, iqn: self._login(fs, iqn, targets[iqn]), found, unreadable)
        return found | {Iqn.parse(iqn): (Login.UNKNOWN, None) for iqn in unreadable}

    async def publish(self, action: PublishTarget) -> None:
        await self._act(action.target.iqn, lambda writer: writer.publish(action))

    async def withdraw(self, action: WithdrawTarget) -> None:
        await self._act(action.iqn, lambda writer: writer.withdraw(action))

    async def asked(self, iqn: Iqn, initiator: Iqn) -> Secret | None:
        """What this initiator has to know now to get this disk; None where nothing is asked. Unusable where there is no
        disk, or what is asked for is not fit for a boot script."""

        def inside(job: Job) -> tuple[str, ...] | None:
            place = Place.of(self._site, iqn)
            if place is None:
                raise Unusable("it is not a target of this site")
            fs = _Checked(self._fs, job)
            if fs.read(f"{place.tpg}/enable") != "1":
                raise Unusable("it is not served")
            return lio_auth.asked(fs, place.tpg, initiator)

        try:
            values = await self._workers.run(object(), inside, self._look_deadline)
        except Stuck as stuck:
            raise Unusable(str(stuck)) from None
        except OSError as error:
            raise Unusable(str(failure(error, "it cannot be read"))) from None
        return Secret.checked(*values) if values is not None else None

    async def _act(self, iqn: Iqn, work: Callable[[Writer], None]) -> None:
        def inside(job: Job) -> None:
            fs = _Checked(self._fs, job)
            try:
                work(Writer(fs, self._site, self._sizes, self._secrets))
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

    async def _listed(self, *, whole: bool) -> str | _Listing:
        """Ours and the foreign ones by name; or why there is no telling."""

        def inside(job: Job) -> str | _Listing:
            fs = _Checked(self._fs, job)
            return fs.problem() or (self._listing(fs) if whole else (frozenset(), (), None))

        try:
            return await self._workers.run(object(), inside, self._look_deadline)
        except Stuck as stuck:
            return str(stuck)
        except OSError as error:
            return str(failure(error, "listing the targets"))

    def _listing(self, fs: ConfigFs) -> _Listing:
        ours: set[Iqn] = set()
        foreign: list[str] = []
        for name in read.listing(fs, "iscsi"):
            parts = self._site.parse_target(name)
            if parts:
                ours.add(self._site.target(*parts))
            elif name.startswith(("iqn.", "eui.", "naa.")):
                foreign.append(name)
        hbas = {f"core/{name}": fs.listdir(f"core/{name}") for name in fs.listdir("core") if "_" in name}
        for hba, held in hbas.items():
            for name in held:
                if not self._at_home(hba, name, ours) and not self._adds(fs, hba, name, ours):
                    foreign += [] if name in ("hba_info", "hba_mode") else [f"{hba}/{name}".removeprefix("core/")]
        return frozenset(ours), tuple(sorted(foreign)), hbas

    def _at_home(self, hba: str, name: str, ours: Collection[Iqn]) -> bool:
        """A device where one of a target of ours belongs: whose it is, the look at that target says."""
        parts = names.parse_backstore(name)
        return parts is not None and self._site.target(parts[0]) in ours and hba in read.hbas(*parts)

    def _adds(self, fs: ConfigFs, hba: str, name: str, ours: set[Iqn]) -> bool:
        """Whether a device without a target is of one that should be ours, which then is looked at too."""
        parts = names.parse_backstore(name)
        place = Place.of(self._site, self._site.target(parts[0])) if parts else None
        if parts is None or place is None or not hba.startswith(("core/fileio_", "core/iblock_")):
            return False
        owned = self._owned(fs, place.of_disk(self._site, parts[1]), f"{hba}/{name}")
        if owned:
            ours.add(place.iqn)
        return owned

    def _owned(self, fs: ConfigFs, place: Place, device: str) -> bool:
        """Not one that somebody put elsewhere and that nothing leads to, unless it is the one that is looked for there."""
        found = place.disk == names.SYSTEM_DISK or device in (place.home, place.block) or read.exported(fs, device)
        return found and read.is_ours(fs, place, device)

    def _state(self, fs: ConfigFs, iqn: Iqn) -> TargetState | None:
        known = self._seen.get(iqn)
        if known is not None and known.still(fs):
            return known.state
        place = Place.of(self._site, iqn)
        if place is None:
            raise OSError("is not a target of this site")
        once = Once(fs)
        state = read.state(once, self._site, place, self._secrets.digest)[0]
        if known is not None and known.state == state:
            state = known.state  # thousands of equal ones would be kept for nothing
        seen = Seen.of(once, place.machine, state) if state else None
        if seen is not None:
            self._seen[iqn] = seen
        else:
            self._seen.pop(iqn, None)
        return state

    def _login(self, fs: ConfigFs, iqn: Iqn, initiator: Iqn) -> tuple[Login, str | None]:
        place = Place.of(self._site, iqn)
        if place is None:
            raise OSError("is not a target of this site")
        return read.sessions(fs, place).get(Iqn.parse(initiator), (Login.NONE, None))

    async def _each(
        self,
        iqns: Iterable[Iqn],
        look: Callable[[ConfigFs, Iqn], T],
        found: dict[Iqn, T],
        unreadable: dict[str, str],
        hbas: _Hbas | None = None,
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
            work = partial(self._some, some=some, at=at, look=look, found=found, unreadable=unreadable, hbas=hbas)
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
        hbas: _Hbas | None,
    ) -> None:
        fs = _Checked(self._fs, job, hbas)
        for at[0], iqn in enumerate(some):
            try:
                found[iqn] = _steady(partial(look, fs, iqn))
            except OSError as error:
                unreadable[iqn] = str(failure(error, "it cannot be read"))


def _steady(look: Callable[[], T]) -> T:
    """What vanishes between two reads is looked at again."""
    for _ in range(3):
        try:
            return look()
        except FileNotFoundError:
            continue
    return look()


class _Checked:
    """A ConfigFs that goes no further once its job is abandoned, and notes what it is doing. ``hbas`` were listed already
    for the look at all targets that this one belongs to."""

    def __init__(self, fs: ConfigFs, job: Job, hbas: _Hbas | None = None) -> None:
        self._fs = fs
        self._job = job
        self._hbas = hbas

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
        self._job.check(path)
        return self._fs.readlink(path)

    def read(self, path: str) -> str:
        self._job.check(path)
        return self._fs.read(path)

    def write(self, path: str, value: str) -> None:
        self._job.check(f"write {path}")
        self._fs.write(path, value)

    def listdir(self, path: str) -> tuple[str, ...]:
        if self._hbas is not None and path.startswith("core/"):
            if path not in self._hbas:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            return self._hbas[path]
        self._job.check(path)
        return self._fs.listdir(path)

    def exists(self, path: str) -> bool:
        self._job.check(f"stat {path}")
        return self._fs.exists(path)

    def problem(self) -> str | None:
        self._job.check("list core")
        return self._fs.problem()
