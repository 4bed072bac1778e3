"""Stand-ins for the host's DHCP server and TFTP tree, for the rules and the crash explorer.

They pass the same contract suites as the real ones, and have the same intermediate states: a file that is written and
not loaded, a loaded one that is gone. ``hook`` is called before and after each effect, and in the middle of a load;
it may raise, which is a crash there.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from controller.core import names
from controller.core.desired import DhcpConfig
from controller.core.names import Site
from controller.core.observed import BootFileState, DhcpState
from controller.core.render import dhcpd, ipxe
from controller.core.steps import DeleteBootFile, LoadDhcp, WriteBootFile
from controller.ports.host import EffectFailed, EffectRefused, TftpState

When = Literal["before", "during", "after"]
Hook = Callable[[When, str, object], None]


def no_hook(when: When, call: str, action: object) -> None:
    """Lets everything happen."""


@dataclass
class MemoryDhcp:
    """``text`` is the include as it lies on disk; ``loaded`` what the process read at its start, None when it is down.

    ``administrator`` holds the host names that his own file declares; ``refuses`` makes dhcpd refuse everything.
    """

    site: Site = field(default_factory=Site)
    hook: Hook = no_hook
    text: str | None = None
    loaded: str | None = None
    administrator: frozenset[str] = frozenset()
    refuses: str | None = None
    problem: str | None = None
    disk_full: bool = False
    restarts: int = 0
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    _refused_for: object = None

    async def observe(self) -> DhcpState:
        header, _ = dhcpd.split(self.text or "")
        idle = self.loaded is None and _body_digest(self.text) == dhcpd.digest(DhcpConfig())
        return DhcpState(
            file=None if idle else _body_digest(self.text),
            loaded=_body_digest(self.loaded),
            running=self.loaded is not None,
            generation=header.generation if header else 0,
            hosts=dhcpd.parse_hosts(self.text or ""),
            refused=self.refused if self._refused_for == (self.administrator, self.refuses) else {},
            problem=self.problem,
        )

    async def load(self, action: LoadDhcp) -> Mapping[str, str]:
        self.hook("before", "dhcp.load", action)
        told = self._load(action)
        self.hook("after", "dhcp.load", action)
        return told

    def _load(self, action: LoadDhcp) -> Mapping[str, str]:
        if self.problem:
            raise EffectRefused("DhcpNotUsable", self.problem)
        stanzas = dhcpd.stanzas(action.config)
        known = self.refused if self._refused_for == (self.administrator, self.refuses) else {}
        refused = {name: why for name, why in known.items() if stanzas.get(name, why[0]) == why[0]}
        config = _without(action.config, refused)
        refused |= {name: (stanzas[name], why.message) for name, why in dhcpd.conflicts(config).items()}
        refused |= {name: (stanzas[name], f"host {name}: already exists") for name in stanzas.keys() & self.administrator}
        config = _without(config, refused)
        wanted = dhcpd.include(config, self.site, action.generation)
        if _body_digest(self.text) != _body_digest(wanted) or _body_digest(self.loaded) != _body_digest(self.text):
            self._serve(wanted, action)
        self.refused, self._refused_for = refused, (self.administrator, self.refuses)
        return {host.name: refused[host.name][1] for host in action.config.hosts if host.name in refused}

    def _serve(self, wanted: str, action: LoadDhcp) -> None:
        if self.refuses:
            raise EffectRefused("DhcpConfigRefused", self.refuses)
        if self.disk_full:
            raise EffectFailed("DhcpFileNotWritten", "No space left on device")
        if _body_digest(self.text) != _body_digest(wanted):
            self.text = wanted
        self.hook("during", "dhcp.load", action)
        self.start()

    def start(self) -> None:
        """A restart, by us or by anybody."""
        self.restarts += 1
        self.loaded = self.text

    def kill(self) -> None:
        self.loaded = None


@dataclass
class MemoryTftp:
    """``files`` is what lies below the TFTP root, by path; ``nbps`` the programs that can be copied, name -> bytes."""

    site: Site = field(default_factory=Site)
    hook: Hook = no_hook
    files: dict[str, bytes] = field(default_factory=dict)
    nbps: Mapping[str, bytes] = field(default_factory=dict)
    problem: str | None = None
    disk_full: bool = False
    writes: int = 0

    async def observe(self, paths: Collection[str] | None) -> TftpState:
        if self.problem:
            return TftpState({}, {}, unreadable={"tftp": self.problem})
        looked = sorted(path for path in self.files if path.startswith(f"{names.BOOT_FOLDER}/"))
        found = {path: self._state(path) for path in looked if paths is None or path in paths}
        return TftpState(
            files=found,
            nbps={name: hashlib.sha256(data).hexdigest() for name, data in self.nbps.items()},
            foreign=tuple(path for path, state in found.items() if not state.ours),
        )

    async def write(self, action: WriteBootFile) -> None:
        self.hook("before", "tftp.write", action)
        self._may(action.path)
        if self.disk_full:
            raise EffectFailed("BootFileNotWritten", "No space left on device")
        if action.nbp is not None:
            if action.nbp not in self.nbps:
                raise EffectRefused("BootProgramMissing", f"{action.nbp} is missing")
            data = self.nbps[action.nbp]
        else:
            data = (action.text or "").encode()
        if self.files.get(action.path) != data:
            self.files[action.path] = data
            self.writes += 1
        self.hook("after", "tftp.write", action)

    async def delete(self, action: DeleteBootFile) -> None:
        self.hook("before", "tftp.delete", action)
        self._may(action.path)
        if action.path in self.files:
            if not self._state(action.path).ours:
                raise EffectRefused("BootFileNotOurs", f"{action.path} does not carry our mark")
            del self.files[action.path]
            self.writes += 1
        self.hook("after", "tftp.delete", action)

    def _may(self, path: str) -> None:
        if self.problem:
            raise EffectRefused("TftpNotUsable", self.problem)
        if not ipxe.is_boot_path(path):
            raise EffectRefused("BootPathRefused", f"{path!r} is no boot file's path")

    def _state(self, path: str) -> BootFileState:
        data = self.files[path]
        ours, machine = ipxe.owner(path, data, self.site)
        return BootFileState(hashlib.sha256(data).hexdigest(), ours, machine)


def _without(config: DhcpConfig, refused: Collection[str]) -> DhcpConfig:
    return replace(config, hosts=tuple(host for host in config.hosts if host.name not in refused))


def _body_digest(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(dhcpd.split(text)[1].encode()).hexdigest()
