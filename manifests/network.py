"""A Network: a DHCP subnet that this boot server answers on."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from manifests.meta import Manifest, Status, Strict
from manifests.types import Cidr, Domain, Ipv4


class AddressRange(Strict):
    """Addresses for machines without a fixed one, both ends included."""

    start: Ipv4
    end: Ipv4

    def __contains__(self, address: object) -> bool:
        return isinstance(address, Ipv4) and int(self.start) <= int(address) <= int(self.end)


class NetworkSpec(Strict):
    cidr: Cidr
    server_address: Ipv4
    gateway: Ipv4 | None = None
    dns: Annotated[tuple[Ipv4, ...], Field(max_length=8)] = ()
    domain: Domain | None = None
    ntp: Annotated[tuple[Ipv4, ...], Field(max_length=8)] = ()
    range: AddressRange | None = None
    dhcp: Literal["authoritative", "external"] = "authoritative"

    @model_validator(mode="after")
    def _inside(self) -> Self:
        inside = [("serverAddress", self.server_address), ("gateway", self.gateway)]
        if self.range:
            inside += [("range.start", self.range.start), ("range.end", self.range.end)]
            if int(self.range.start) > int(self.range.end):
                raise ValueError(f"range starts at {self.range.start}, after its end {self.range.end}")
            if self.server_address in self.range:
                raise ValueError(f"serverAddress {self.server_address} lies inside the dynamic range")
        for field, address in inside:
            if address is not None and address not in self.cidr:
                raise ValueError(f"{field} {address} is outside {self.cidr}")
        return self


class NetworkStatus(Status):
    machines: int | None = None


class Network(Manifest):
    kind: Literal["Network"] = "Network"
    spec: NetworkSpec
    status: NetworkStatus | None = None
