"""How objects refer to each other."""

from collections.abc import Iterable

from manifests.machine import Machine
from manifests.network import Network


def network_of(machine: Machine, networks: Iterable[Network]) -> Network | None:
    """The Network that a Machine belongs to: the one it names, else the one that holds its address, else the only one."""
    candidates = list(networks)
    if machine.spec.network is not None:
        return next((n for n in candidates if n.name == machine.spec.network), None)
    if machine.spec.address is not None:
        return next((n for n in candidates if machine.spec.address in n.spec.cidr), None)
    return candidates[0] if len(candidates) == 1 else None
