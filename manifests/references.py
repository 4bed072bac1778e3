"""How objects refer to each other."""

from collections.abc import Iterable
from dataclasses import dataclass

from manifests.kinds import Object
from manifests.machine import Machine
from manifests.network import Network


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a set."""

    all: tuple[Network, ...]

    @classmethod
    def of(cls, objects: Iterable[Object]) -> "Networks":
        return cls(tuple(one for one in objects if isinstance(one, Network)))


def network_of(machine: Machine, networks: Networks) -> Network | None:
    """The Network that a Machine belongs to: the one it names, else the one that holds its address, else the only one."""
    candidates = networks.all
    if machine.spec.network is not None:
        return next((n for n in candidates if n.name == machine.spec.network), None)
    if machine.spec.address is not None:
        return next((n for n in candidates if machine.spec.address in n.spec.cidr), None)
    return candidates[0] if len(candidates) == 1 else None
