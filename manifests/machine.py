"""A Machine: a PC that boots from the network, known by its cards."""

from typing import Annotated, Literal

from pydantic import Field

from manifests.meta import Manifest, Status, Strict
from manifests.types import Hostname, Ipv4, Iqn, Mac, Name


class MachineSpec(Strict):
    macs: Annotated[tuple[Mac, ...], Field(min_length=1, max_length=8)]
    address: Ipv4 | None = None
    network: Name | None = None
    hostname: Hostname | None = None
    firmware: Literal["auto", "bios", "uefi"] = "auto"
    initiator: Iqn | None = None
    server: Name | None = None
    enabled: bool = True


class MachineStatus(Status):
    session: str | None = None
    address: str | None = None


class Machine(Manifest):
    kind: Literal["Machine"] = "Machine"
    spec: MachineSpec
    status: MachineStatus | None = None
