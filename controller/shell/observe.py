"""Looking at the host: all of it, or what a few machines have there.

What is read for a few machines replaces what was known of them and leaves the rest as it was last seen. A planner for
these machines gets only what is theirs, and what all share.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import anyio

from controller.core.names import BOOT_SCRIPT, Site, script
from controller.core.render.ipxe import PROGRAM_PATHS
from controller.core.world import Desired, Domain, Observed
from controller.ports.host import Dhcp, Lio, LioState, Pool, PoolView, Tftp, TftpState
from manifests.types import Iqn, Mac

K = TypeVar("K")
V = TypeVar("V")
_DOMAINS: tuple[Domain, ...] = ("pool", "lio", "tftp", "dhcp")
_FIXED = frozenset({BOOT_SCRIPT}) | PROGRAM_PATHS  # these may come into being between two looks
_ALWAYS_WHOLE = frozenset[Domain]({"pool", "dhcp"})  # one listing, one file: a part would cost as much


@dataclass(frozen=True, slots=True)
class Host:
    """The boot server: everything outside that the controller may touch."""

    lio: Lio
    pool: Pool
    tftp: Tftp
    dhcp: Dhcp
    pool_dir: str
    simulated: bool = False


async def look(host: Host, desired: Desired, iqns: Collection[Iqn] | None, paths: Collection[str] | None) -> Observed:
    """These targets and boot files (None: all of ours), the pool and the DHCP server, side by side."""
    seen: list[LioState | PoolView | TftpState] = []

    async def lio() -> None:
        seen.append(await host.lio.observe(iqns))

    async def tftp() -> None:
        seen.append(await host.tftp.observe(paths))

    async def pool() -> None:
        seen.append(await host.pool.observe(desired.images.values()))

    async with anyio.create_task_group() as tasks:
        for part in (lio, tftp, pool):
            tasks.start_soon(part)
        dhcp = await host.dhcp.observe()
    return _joined(Observed(dhcp=dhcp, pool_dir=host.pool_dir), seen, whole=iqns is None and paths is None)


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
class View:
    """What was last seen of the host, whole; refreshed in part by each pass."""

    site: Site
    last: Observed | None = None

    def whole(self, seen: Observed) -> Observed:
        """A glance, with what is known of the host as a whole: a glance in itself says nothing of what it left out."""
        if self.last is None:
            return seen
        return replace(seen, complete=self.last.complete, unreadable=self.last.unreadable, foreign=self.last.foreign)

    async def sweep(self, host: Host, desired: Desired) -> Observed:
        self.last = await look(host, desired, None, None)
        return self.last

    async def glance(self, host: Host, desired: Desired, machines: Collection[str], macs: Iterable[Mac]) -> Observed:
        """What these machines have, and what all share; needs a sweep before it."""
        assert self.last is not None
        iqns = {self.site.target(machine) for machine in machines}
        shared = _FIXED | {path for path, file in self.last.boot.items() if file.machine is None}
        paths = {path for path, file in self.last.boot.items() if file.machine in machines} | {
            script(mac.hyphens) for mac in macs
        }
        fresh = await look(host, desired, iqns, paths | shared)
        known = self.last
        self.last = replace(
            fresh,
            targets=_merged(known.targets, fresh.targets, iqns),
            boot=_merged(known.boot, fresh.boot, paths | shared),
            unreadable={
                **{key: why for key, why in known.unreadable.items() if key not in iqns | paths | shared | set(_DOMAINS)},
                **fresh.unreadable,
            },
            foreign=known.foreign,
            complete=known.complete - fresh.unreadable.keys(),
        )
        return fresh


def _merged(known: Mapping[K, V], fresh: Mapping[K, V], looked: Collection[K]) -> dict[K, V]:
    return {**{key: value for key, value in known.items() if key not in looked}, **fresh}
