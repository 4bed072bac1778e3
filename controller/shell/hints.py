"""From a path that somebody touched to the keys that a pass should look at."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from controller.core.desired import Client
from controller.core.names import Site, parse_backstore

EVERYTHING = "Server/this"


@dataclass(frozen=True, slots=True)
class Places:
    """Where on the host the parts that are ours lie."""

    configfs: PurePath
    tftp: PurePath
    dhcp: PurePath
    include: str
    secrets: PurePath | None = None

    def keys(self, paths: Iterable[str], site: Site, clients: Iterable[Client]) -> frozenset[str]:
        """``Machine/x`` where the path names one; otherwise everything is to be looked at."""
        by_mac = {mac.hyphens: client.machine for client in clients for mac in client.macs}
        return frozenset(key for path in paths for key in [self._key(PurePath(path), site, by_mac)] if key)

    def _key(self, path: PurePath, site: Site, by_mac: dict[str, str]) -> str | None:
        if path.is_relative_to(self.configfs):
            return self._target(path.relative_to(self.configfs).parts, site)
        if path.is_relative_to(self.tftp):
            machine = by_mac.get(path.name.removesuffix(".ipxe"))
            return f"Machine/{machine}" if machine else EVERYTHING
        secret = self.secrets is not None and path.is_relative_to(self.secrets)
        return EVERYTHING if secret or path.name == self.include else None

    def _target(self, parts: tuple[str, ...], site: Site) -> str | None:
        match parts:
            case ("target", "iscsi", iqn, *_):
                found = site.parse_target(iqn)
            case ("target", "core", _, name, *_):
                found = parse_backstore(name)
            case _:
                return None
        return f"Machine/{found[0]}" if found else None
