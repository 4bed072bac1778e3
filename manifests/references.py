"""What the objects of a set say about each other: names that lead nowhere, and what two of them both claim.

dhcpd accepts two hosts with one MAC or address, and addresses outside every subnet, so all of that is found here.
One pass and lookups by key: linear in the set (networks are sorted once).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from manifests.image import Image
from manifests.kinds import Object
from manifests.load import Origin
from manifests.machine import Machine
from manifests.network import Network
from manifests.problems import Problem
from manifests.session import Session
from manifests.types import Ipv4, Name
from manifests.versions import NEWEST, ImageRef


@dataclass(frozen=True, slots=True)
class Span:
    """A network with its first and last address as numbers, computed once."""

    first: int
    last: int
    network: Network

    @classmethod
    def of(cls, network: Network) -> "Span":
        first, last = network.spec.cidr.ends
        return cls(int(first), int(last), network)


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a set, to look up by name and by an address in them; they do not overlap (``check``)."""

    by_name: Mapping[str, Span]
    starts: tuple[int, ...]
    ordered: tuple[Span, ...]

    @classmethod
    def of(cls, objects: Iterable[Object]) -> "Networks":
        """From a whole set, whose other kinds are passed over."""
        spans = [Span.of(one) for one in objects if isinstance(one, Network)]
        ordered = sorted(spans, key=lambda span: (span.first, span.last, span.network.name))
        return cls({span.network.name: span for span in spans}, tuple(span.first for span in ordered), tuple(ordered))

    def of_machine(self, machine: Machine) -> Span | None:
        spec = machine.spec
        if spec.network is not None:
            return self.by_name.get(spec.network)
        if spec.address is not None:
            number = int(spec.address)
            at = bisect_right(self.starts, number) - 1
            if at >= 0 and number <= self.ordered[at].last:
                return self.ordered[at]
        return self.ordered[0] if len(self.ordered) == 1 else None


def network_of(machine: Machine, networks: Networks) -> Network | None:
    """The network that a machine boots on: the one it names, else the one that holds its address, else the only one."""
    span = networks.of_machine(machine)
    return span.network if span else None


def check(objects: Iterable[Object], origins: Mapping[str, tuple[str, int]] | None = None) -> tuple[Problem, ...]:
    """All that is wrong with a whole set, sorted; empty if it may be taken. ``origins`` as from ``load``."""
    return tuple(sorted(_Check(tuple(objects), origins or {}).problems()))


class _Check:
    def __init__(self, objects: tuple[Object, ...], origins: Mapping[str, tuple[str, int]]) -> None:
        self._origins = origins
        self._keys = {one.key for one in objects}
        self._networks = Networks.of(objects)
        self._machines = [one for one in objects if isinstance(one, Machine)]
        self._images = {one.name: one for one in objects if isinstance(one, Image)}
        self._sessions = [one for one in objects if isinstance(one, Session)]
        self._running = {one.spec.machine: one for one in self._sessions if one.spec.state == "running"}

    def problems(self) -> Iterator[Problem]:
        yield from self._overlaps()
        yield from self._claims()
        for machine in self._machines:
            yield from self._place(machine)
        yield from self._session_references()

    def _problem(self, one: Object, field: str, message: str) -> Problem:
        origin = self._origins.get(one.key)
        if origin is None:
            return Problem("", 0, one.key, f"spec.{field}", message)
        file, line = origin
        if isinstance(origin, Origin):
            line = origin.fields.get(field.partition("[")[0], line)
        return Problem(file, line, one.key, f"spec.{field}", message)

    def _named(self, key: str) -> str:
        """``Machine/pc08 (machines.yaml:12)``"""
        origin = self._origins.get(key)
        return f"{key} ({origin[0]}:{origin[1]})" if origin else key

    def _overlaps(self) -> Iterator[Problem]:
        widest: Span | None = None
        for span in self._networks.ordered:
            if widest is not None and span.first <= widest.last:
                other = f"{widest.network.spec.cidr} of {self._named(widest.network.key)}"
                yield self._problem(span.network, "cidr", f"{span.network.spec.cidr} of {span.network.key} overlaps {other}")
            if widest is None or span.last > widest.last:
                widest = span

    def _claims(self) -> Iterator[Problem]:
        """What only one machine may have: the first one keeps it, each later one is told who that is."""
        owners: dict[tuple[str, str], Machine] = {}
        for machine in self._machines:
            for field, kind, value in claimed(machine):
                owner = owners.setdefault((kind, value), machine)
                if owner is not machine:
                    yield self._problem(machine, field, f"{kind} {value} is that of {self._named(owner.key)} too")
            macs = machine.spec.macs
            for card, mac in enumerate(macs):
                if macs.index(mac) < card:
                    yield self._problem(machine, f"macs[{card}]", f"MAC {mac} stands twice in {machine.key}")

    def _place(self, machine: Machine) -> Iterator[Problem]:
        """Whether the machine's network and address agree."""
        spec, span = machine.spec, self._networks.of_machine(machine)
        if spec.network is not None and span is None:
            yield self._problem(machine, "network", f"there is no Network/{spec.network} for {machine.key} in this set")
        elif spec.address is not None and span is not None:
            if wrong := self._wrong(spec.address, span):
                yield self._problem(machine, "address", f"{spec.address} of {machine.key} is {wrong}")
        elif spec.address is not None and self._networks.ordered:
            yield self._problem(machine, "address", f"{spec.address} of {machine.key} is in no Network of this set")
        elif span is None and machine.name in self._running:
            session = self._named(self._running[machine.name].key)
            how = "name its network" if self._networks.ordered else "declare a Network"
            yield self._problem(machine, "network", f"{session} runs on {machine.key}, whose network cannot be told: {how}")

    def _wrong(self, address: Ipv4, span: Span) -> str | None:
        """Why no machine can have this address in this network."""
        network, number = span.network.spec, int(address)
        named = self._named(span.network.key)
        if not span.first <= number <= span.last:
            return f"outside {network.cidr} of {named}"
        if number in (span.first, span.last):
            return f"the first or last address of {network.cidr} of {named}, which nobody can have"
        if address in (network.server_address, network.gateway):
            return f"the {'serverAddress' if address == network.server_address else 'gateway'} of {named}"
        if network.range is not None and address in network.range:
            return f"inside the dynamic range {network.range.start} to {network.range.end} of {named}"
        return None

    def _session_references(self) -> Iterator[Problem]:
        running: dict[str, Session] = {}
        for session in self._sessions:
            spec = session.spec
            images = ((field, f"Image/{ref.image}") for field, ref in spec.images)
            for field, key in (("machine", f"Machine/{spec.machine}"), *images):
                if key not in self._keys:
                    yield self._problem(session, field, f"there is no {key} for {session.key} in this set")
            for field, ref in spec.images:
                yield from self._channel(session, field, ref)
            if spec.state == "running" and (first := running.setdefault(spec.machine, session)) is not session:
                other = self._named(first.key)
                yield self._problem(session, "machine", f"Machine/{spec.machine} runs {other} already: stop one of them")

    def _channel(self, session: Session, field: str, ref: ImageRef) -> Iterator[Problem]:
        """Whether the image has the channel that the session names."""
        image = self._images.get(Name.parse(ref.image))
        if ref.channel in (None, NEWEST) or image is None or ref.channel in (image.spec.channels or {}):
            return
        has = ", ".join([*sorted(image.spec.channels or {}), NEWEST])
        named = self._named(image.key)
        yield self._problem(session, field, f"{named} has no channel {ref.channel}, it has {has}: set its spec.channels")


def claimed(machine: Machine) -> Iterator[tuple[str, str, str]]:
    """Field, what it is, value."""
    spec = machine.spec
    for card, mac in enumerate(spec.macs):
        yield f"macs[{card}]", "MAC", mac
    yield "hostname", "hostname", spec.hostname or machine.name
    if spec.address is not None:
        yield "address", "address", spec.address
    if spec.initiator is not None:
        yield "initiator", "initiator", spec.initiator
