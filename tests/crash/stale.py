"""A host of which one part is seen as it was some time ago."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import cast

from controller.core.desired import Golden
from controller.core.names import OverlayName
from controller.core.observed import DhcpState
from controller.ports.host import LioState, PoolView, TftpState
from controller.shell.observe import Host
from manifests.types import Iqn
from tests.crash.world import Passed, World


@dataclass(frozen=True)
class Memory:
    """What was seen of the whole host at one time."""

    lio: LioState
    pool: PoolView
    tftp: TftpState
    dhcp: DhcpState


@dataclass
class StaleWorld(World):
    """``old`` replaces what is seen of one ``part`` (lio, pool, tftp or dhcp), ``remembered`` is what there is of old."""

    part: str = ""
    old: Memory | None = None
    remembered: list[Memory] = field(default_factory=list)

    async def remember(self, images: Collection[Golden] = ()) -> None:
        host = super().host()
        self.remembered.append(
            Memory(
                await host.lio.observe(None),
                await host.pool.observe(images),
                await host.tftp.observe(None),
                await host.dhcp.observe(),
            )
        )

    def host(self) -> Host:
        host = super().host()
        return replace(
            host,
            lio=_Lio(host.lio, self),
            pool=_Pool(host.pool, self),
            tftp=_Tftp(host.tftp, self),
            dhcp=_Dhcp(host.dhcp, self),
        )

    def memory(self, part: str) -> Memory | None:
        return self.old if part == self.part else None


class _Lio(Passed[StaleWorld]):
    async def observe(self, iqns: Collection[Iqn] | None) -> LioState:
        old = self.world.memory("lio")
        if old is None:
            return cast(LioState, await self.real.observe(iqns))
        return replace(old.lio, targets={iqn: s for iqn, s in old.lio.targets.items() if iqns is None or iqn in iqns})


class _Pool(Passed[StaleWorld]):
    async def observe(self, images: Collection[Golden], machines: Collection[str] | None = None) -> PoolView:
        now: PoolView = await self.real.observe(images, machines)
        old = self.world.memory("pool")
        if old is None:
            return now
        known = {text: name.machine for text in old.pool.state.overlays if (name := OverlayName.parse(text))}
        theirs = {text: old.pool.state.overlays[text] for text, of in known.items() if machines is None or of in machines}
        return replace(now, state=replace(old.pool.state, sources=now.state.sources, overlays=theirs))


class _Tftp(Passed[StaleWorld]):
    async def observe(self, paths: Collection[str] | None) -> TftpState:
        old = self.world.memory("tftp")
        if old is None:
            return cast(TftpState, await self.real.observe(paths))
        return replace(old.tftp, files={path: s for path, s in old.tftp.files.items() if paths is None or path in paths})


class _Dhcp(Passed[StaleWorld]):
    async def observe(self) -> DhcpState:
        old = self.world.memory("dhcp")
        return cast(DhcpState, await self.real.observe()) if old is None else old.dhcp
