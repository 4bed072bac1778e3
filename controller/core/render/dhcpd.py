"""What dhcpd reads: our include's body."""

import hashlib
from collections.abc import Mapping

from controller.core.world import DhcpConfig


def stanzas(config: DhcpConfig) -> Mapping[str, str]:
    return {
        host.name: f"hardware ethernet {host.mac}; "
        + (f"fixed-address {host.address}; " if host.address else "")
        + f'option host-name "{host.hostname}";'
        for host in config.hosts
    }


def body(config: DhcpConfig, boot: str) -> str:
    subnets = [f"subnet {s.cidr} {{ next-server {s.server}; range {s.range}; }}" for s in config.subnets]
    return "\n".join([boot, *subnets, *(f"host {name} {{ {text} }}" for name, text in stanzas(config).items())]) + "\n"


def digest(config: DhcpConfig) -> str:
    return hashlib.sha256(body(config, "ggnet/boot.ipxe").encode()).hexdigest()
