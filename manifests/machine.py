"""A Machine: a PC that boots from the network, known by its cards."""

from typing import Annotated, Literal

from pydantic import Field

from manifests.meta import Manifest, Status, Strict
from manifests.types import Hostname, Ipv4, Iqn, Mac, Name


class MachineSpec(Strict):
    macs: Annotated[tuple[Mac, ...], Field(min_length=1, max_length=8)] = Field(
        description="The addresses of its network cards; any of them may boot."
    )
    address: Ipv4 | None = Field(None, description="Its fixed address; unset: one of the network's range.")
    network: Name | None = Field(None, description="Its Network; unset: the one that holds its address, or the only one.")
    hostname: Hostname | None = Field(None, description="What DHCP calls it; unset: its name.")
    firmware: Literal["auto", "bios", "uefi"] = Field("auto", description="What it boots with; auto listens to the PC.")
    initiator: Iqn | None = Field(None, description="Its iSCSI name; unset: made from its name.")
    server: Name | None = Field(None, description="The boot server that serves it; unset: the only one.")
    enabled: Annotated[bool, Field(strict=True)] = Field(True, description="Whether it is served at all.")


class MachineStatus(Status):
    session: str | None = None
    address: str | None = None


class Machine(Manifest):
    kind: Literal["Machine"] = "Machine"
    spec: MachineSpec
    status: MachineStatus | None = None
