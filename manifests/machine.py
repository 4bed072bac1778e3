"""A Machine: a PC that boots from the network, known by its cards."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from manifests.meta import Manifest, Status, Strict
from manifests.types import Hostname, Ipv4, Iqn, Mac, Name


class Chap(Strict):
    """How the PC and its disk prove to each other who they are (RFC 7143, 12.1.3). The secret itself is never here."""

    credential: Name = Field(description="What its secret is called: a file in the folder of secrets, or of systemd's.")


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
    chap: Chap | None = Field(None, description="The secret that its disk asks for; unset: its iSCSI name is enough.")

    @model_validator(mode="after")
    def _secret_has_an_address(self) -> Self:
        if self.chap is not None and self.address is None:
            raise ValueError("has chap and no address, and a secret is given to that address alone: set spec.address")
        return self


class MachineStatus(Status):
    session: str | None = None
    address: str | None = None
    chap_digest: str | None = None


class Machine(Manifest):
    kind: Literal["Machine"] = "Machine"
    spec: MachineSpec
    status: MachineStatus | None = None
