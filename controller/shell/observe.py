"""Looking at the host: all of it, or what a few machines have there.

What is read for a few machines replaces what was known of them and leaves the rest as it was last seen. A planner for
these machines gets only what is theirs, and what all share.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

import anyio

from controller.core.desired import Desired
from controller.core.names import BOOT_SCRIPT, OverlayName, Site, script
from controller.core.observed import BootFileState, Domain, Observed, OverlayFile, TargetState
from controller.core.render.ipxe import PROGRAM_PATHS
from controller.ports.host import Chap, Dhcp, Lio, LioState, Pool, PoolView, Tftp, TftpState
from controller.shell.imports import Imports
from manifests.types import Iqn, Mac

_DOMAINS: tuple[Domain, ...] = ("pool", "lio", "tftp", "dhcp")
_FIXED = frozenset({BOOT_SCRIPT}) | PROGRAM_PATHS  # these may come into being between two looks
_ALWAYS_WHOLE = frozenset[Domain]({"pool", "dhcp"})  # a few images, one file: a part would cost as much


@dataclass(frozen=True, slots=True)
class Host:
    """The boot server: everything outside that the controller may touch.

    Without ``imports`` a pass waits for each import to end. Without ``chap`` no machine can have a secret.
    """

    lio: Lio
    pool: Pool
    tftp: Tftp
    dhcp: Dhcp
    pool_dir: str
    simulated: bool = False
    imports: Imports | None = None
    chap: Chap | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The targets, boot files and machines' overlays to look at; None: all of ours."""

    iqns: Collection[Iqn] | None = None
    paths: Collection[str] | None = None
    machines: Collection[str] | None = None


WHOLE = Part()


async def look(host: Host, desired: Desired, part: Part = WHOLE) -> Observed:
    """This part, with images and the DHCP server, side by side."""
    seen: list[LioState | PoolView | TftpState] = []

    async def lio() -> None:
        seen.append(await host.lio.observe(part.iqns))

    async def tftp() -> None:
        seen.append(await host.tftp.observe(part.paths))

    async def pool() -> None:
        seen.append(await host.pool.observe(desired.images.values(), part.machines))

    async with anyio.create_task_group() as tasks:
        for each in (lio, tftp, pool):
            tasks.start_soon(each)
        dhcp = await host.dhcp.observe()
    observed = Observed(dhcp=dhcp, pool_dir=host.pool_dir)
    if host.chap is not None:
        names = {one.credential for one in desired.clients.values() if one.credential is not None}
        chap = await host.chap.observe(names)
        observed = replace(observed, credentials=chap.credentials, closed=chap.closed)
    return _joined(observed, seen, whole=part is WHOLE)


def _joined(observed: Observed, seen: Iterable[LioState | PoolView | TftpState], *, whole: bool) -> Observed:
    unreadable: dict[str, str] = {}
    foreign: list[str] = []
    for part in seen:
        unreadable |= part.unreadable
        if isinstance(part, LioState):
            observed = replace(observed, targets=part.targets)
            foreign += part.foreign
        elif isinstance(part, TftpState):
            observed = replace(observed, boot=part.files, nbps=part.nbps)
            foreign += part.foreign
        else:
            observed = replace(observed, pool=part.state)
    complete = frozenset(domain for domain in _DOMAINS if (whole or domain in _ALWAYS_WHOLE) and domain not in unreadable)
    return replace(observed, unreadable=unreadable, foreign=tuple(sorted(foreign)), complete=complete)


@dataclass(slots=True)
class _Held:
    """A whole look that is kept up to date in place, or each pass would copy what thousands have; with what each machine
    has by its name, None for what all share."""

    targets: dict[Iqn, TargetState]
    boot: dict[str, BootFileState]
    overlays: dict[str, OverlayFile]
    paths: dict[str | None, set[str]]
    disks: dict[str, set[str]]

    @classmethod
    def of(cls, seen: Observed) -> "_Held":
        held = cls(dict(seen.targets), dict(seen.boot), dict(seen.pool.overlays), defaultdict(set), defaultdict(set))
        for path, file in held.boot.items():
            held.paths[file.machine].add(path)
        for text in held.overlays:
            if name := OverlayName.parse(text):
                held.disks[name.machine].add(text)
        return held

    def of_machines(self, machines: Collection[str], macs: Iterable[Mac]) -> frozenset[str]:
        """The paths of their boot files, and of those that all share."""
        paths = _FIXED | self.paths[None] | {script(mac.hyphens) for mac in macs}
        return paths.union(*(self.paths[machine] for machine in machines))

    def renew(self, iqns: Iterable[Iqn], paths: Iterable[str], machines: Iterable[str], fresh: Observed) -> None:
        """What was looked at, and nothing else, is as it was seen now."""
        for path in paths:
            if file := self.boot.pop(path, None):
                self.paths[file.machine].discard(path)
        for path, file in fresh.boot.items():
            self.boot[path] = file
            self.paths[file.machine].add(path)
        for iqn in iqns:
            self.targets.pop(iqn, None)
        self.targets.update(fresh.targets)
        for machine in machines:
            for text in self.disks.pop(machine, ()):
                del self.overlays[text]
        for text, overlay in fresh.pool.overlays.items():
            self.overlays[text] = overlay
            if name := OverlayName.parse(text):
                self.disks[name.machine].add(text)


@dataclass(slots=True)
class View:
    """What was last seen of the host, whole; refreshed in part by each pass."""

    site: Site
    last: Observed | None = None
    _held: _Held | None = None

    def whole(self, seen: Observed) -> Observed:
        """A glance, with what is known of the host as a whole: a glance in itself says nothing of what it left out."""
        if self.last is None:
            return seen
        last = self.last
        return replace(
            seen,
            complete=last.complete,
            unreadable=last.unreadable,
            foreign=last.foreign,
            credentials=last.credentials,
        )

    async def sweep(self, host: Host, desired: Desired) -> Observed:
        self.last, self._held = await look(host, desired), None
        return self.last

    async def glance(self, host: Host, desired: Desired, machines: Collection[str], macs: Iterable[Mac]) -> Observed:
        """What these machines have, and what all share; needs a sweep before it."""
        known = self.last
        assert known is not None
        held = self._held = self._held or _Held.of(known)
        iqns, paths = {self.site.target(machine) for machine in machines}, held.of_machines(machines, macs)
        fresh = await look(host, desired, Part(iqns, paths, machines))
        held.renew(iqns, paths, machines, fresh)
        looked = {*iqns, *paths, *_DOMAINS}
        blind = {key: why for key, why in known.unreadable.items() if key not in looked and not _of(key, machines)}
        self.last = replace(
            fresh,
            pool=replace(fresh.pool, overlays=held.overlays, carried={}),
            targets=held.targets,
            boot=held.boot,
            unreadable={**blind, **fresh.unreadable},
            foreign=known.foreign,
            complete=known.complete - fresh.unreadable.keys(),
            credentials={**known.credentials, **fresh.credentials},
        )
        return fresh


def _of(key: str, machines: Collection[str]) -> bool:
    """Whether this is an overlay of one of these."""
    name = OverlayName.parse(key)
    return name is not None and name.machine in machines
