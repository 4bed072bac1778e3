"""A Network: a DHCP subnet that this boot server answers on."""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from manifests.meta import Manifest, Status, Strict
from manifests.types import Cidr, Domain, Ipv4


class AddressRange(Strict):
    """Addresses for machines without a fixed one, both ends included."""

    start: Ipv4
    end: Ipv4

    def __contains__(self, address: object) -> bool:
        return isinstance(address, Ipv4) and int(self.start) <= int(address) <= int(self.end)

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if int(self.start) > int(self.end):
            raise ValueError(f"it starts at {self.start}, after its end {self.end}")
        return self


class NetworkSpec(Strict):
    cidr: Cidr = Field(description="The subnet, host bits zero.")
    server_address: Ipv4 = Field(description="Our address on it: iSCSI portal, TFTP, next-server.")
    gateway: Ipv4 | None = Field(None, description="DHCP option 3.")
    dns: Annotated[tuple[Ipv4, ...], Field(max_length=8)] = Field((), description="DHCP option 6.")
    domain: Domain | None = Field(None, description="DHCP option 15.")
    ntp: Annotated[tuple[Ipv4, ...], Field(max_length=8)] = Field((), description="DHCP option 42.")
    range: AddressRange | None = Field(None, description="Dynamic leases; unset: fixed addresses alone.")
    dhcp: Literal["authoritative", "external"] = Field(
        "authoritative", description="external: another DHCP server answers; render nothing, check only."
    )

    @field_validator("server_address", "gateway", "range", mode="after")
    @classmethod
    def _inside(cls, value: Ipv4 | AddressRange | None, info: ValidationInfo) -> Ipv4 | AddressRange | None:
        cidr = info.data.get("cidr")
        if not isinstance(cidr, Cidr) or value is None:
            return value  # a bad cidr is told by itself
        for address in (value.start, value.end) if isinstance(value, AddressRange) else (value,):
            if address not in cidr:
                raise ValueError(f"{address} is outside {cidr}")
            if address in cidr.ends:
                raise ValueError(f"{address} is the first or last address of {cidr}, which nobody can have")
        return value

    @field_validator("range", mode="after")
    @classmethod
    def _leaves_fixed_addresses_alone(cls, value: AddressRange | None, info: ValidationInfo) -> AddressRange | None:
        for field, name in (("server_address", "serverAddress"), ("gateway", "gateway")):
            if value and info.data.get(field) in value:
                raise ValueError(f"it holds {name} {info.data[field]}, which would be leased to a PC")
        return value


class NetworkStatus(Status):
    machines: int | None = None


class Network(Manifest):
    kind: Literal["Network"] = "Network"
    spec: NetworkSpec
    status: NetworkStatus | None = None
