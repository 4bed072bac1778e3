"""What must hold after every single effect, told from the world itself: P8, P9, P14 and that no live disk is cut."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.core.render.dhcpd import parse_hosts
from tests.crash.sites import SITE

if TYPE_CHECKING:
    from tests.crash.world import World

_ADVERT = re.compile(rb"initiator-iqn (\S+)\n.*\nsanboot iscsi:([0-9.]+)::([0-9]+):0:(\S+)", re.DOTALL)
_MARK = f"ggnet site {SITE.site} server {SITE.server} ".encode()


@dataclass
class Guard:
    """Looks at the world behind each effect and notes what it should never have seen.

    ``excused`` are targets that somebody else has damaged. ``live`` maps the ACL of each PC that is logged in to the
    disks that it has, by LUN. It may sleep while a large world is built.
    """

    world: "World"
    awake: bool = True
    broken: list[str] = field(default_factory=list)
    excused: set[str] = field(default_factory=set)
    live: dict[str, dict[int, tuple[str, bool]]] = field(default_factory=dict)
    _foreign: Mapping[str, object] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        self._foreign = self.world.foreign()

    def look(self, call: str, subject: object) -> None:
        found = [*self._touched(), *self._misled(), *self._cut(), *self._evicted()] if self.awake else []
        self.broken += [f"{what}, behind {call} {subject}" for what in found if len(self.broken) < 20]

    def _touched(self) -> list[str]:
        now = self.world.foreign()
        return [f"P8: foreign {name} was touched" for name in self._foreign if now.get(name) != self._foreign[name]]

    def _misled(self) -> list[str]:
        return [f"P9: {path} leads to {iqn}, which is not whole" for path, iqn in self.misled() if iqn not in self.excused]

    def misled(self) -> list[tuple[str, str]]:
        """Boot scripts of ours, each with the target that it leads to and that serves nothing."""
        found = []
        for path, data in self.world.tftp.files.items():
            advert = _ADVERT.search(data) if _MARK in data else None
            if advert is None:
                continue
            initiator, address, port, iqn = (part.decode() for part in advert.groups())
            disk = self.world.kernel.disk(f"iscsi/{iqn}/tpgt_1/acls/{initiator}", f"{address}:{port}")
            if disk is None or not self.world.holds(disk[0]):
                found.append((path, iqn))
        return found

    def _cut(self) -> list[str]:
        kernel, found = self.world.kernel, []
        allowed = self.world.disrupted()
        for acl, disks in list(self.live.items()):
            now = kernel.disks(acl)
            same = all(
                lun in now and now[lun][0] == file and now[lun][1] >= writable for lun, (file, writable) in disks.items()
            )
            if acl in kernel.live() and same and all(self.world.holds(file) for file, _ in disks.values()):
                continue
            del self.live[acl]
            if acl not in allowed:
                found.append(f"P9: {acl} was live and lost its disk")
        return found

    def _evicted(self) -> list[str]:
        """A PC that is on asks dhcpd for its address again and again."""
        now = self._hosts()
        gone = [name for name, text in self._told.items() if now and now.get(name) != text]
        for name in gone:
            del self._told[name]
        return [f"P9: a PC was live, and dhcpd tells it otherwise: {name}" for name in gone if not self._excuses(name)]

    def _hosts(self) -> Mapping[str, str]:
        """What the running dhcpd answers; empty when none runs."""
        return parse_hosts(self.world.dhcp.loaded or "")

    def _excuses(self, host: str) -> bool:
        machine = host.removeprefix("ggnet-").removesuffix("-0")
        asked = any(f":{machine}.os/" in acl for acl in self.world.disrupted())
        return asked or host in self.world.dhcp.administrator or f"{SITE.target(machine)}" not in self._served()

    def _served(self) -> set[str]:
        return {acl.split("/")[1] for acl in self.live}

    def login(self, acl: str) -> None:
        self.live[acl] = self.world.kernel.disks(acl)
        assert 0 in self.live[acl]
        machine = acl.split("/")[1].rpartition(":")[2].removesuffix(".os")
        host = f"ggnet-{machine}-0"
        if host in self._hosts():
            self._told[host] = self._hosts()[host]

    def after_damage(self) -> None:
        """Somebody else was at it: what is broken now is not our doing."""
        self.excused |= {iqn for _, iqn in self.misled()}
        kernel = self.world.kernel
        held = {acl for acl in kernel.live() if all(self.world.holds(file) for file, _ in kernel.disks(acl).values())}
        self.live = {acl: disks for acl, disks in self.live.items() if acl in held and kernel.disks(acl) == disks}
        self._told = {name: text for name, text in self._told.items() if self._hosts().get(name) == text}

    def after_pass(self) -> None:
        self.excused &= {iqn for _, iqn in self.misled()}

    # --- statuses ---------------------------------------------------------------------------------------------

    def status(self, key: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        """P14, at each write of a status."""
        if before is None:
            return
        if after["observedGeneration"] < before["observedGeneration"]:
            self.broken.append(f"P14: observedGeneration of {key} went back")
        old = {one["type"]: one for one in before["conditions"]}
        for new in after["conditions"]:
            was = old.get(new["type"])
            if was and (was["status"] != new["status"]) != (was["lastTransitionTime"] != new["lastTransitionTime"]):
                self.broken.append(f"P14: {key} {new['type']}: {was} -> {new}")
