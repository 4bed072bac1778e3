"""Hypothesis strategies for valid objects, and for whole sets in which everything that is named exists."""

import ipaddress
import string

from hypothesis import strategies as st

from manifests.image import Image
from manifests.kinds import Object
from manifests.machine import Machine
from manifests.network import Network
from manifests.session import Session
from manifests.types import Cidr, Domain, Duration, Hostname, Ipv4, Iqn, Mac, Name, Size
from manifests.versions import ImageRef

_LETTERS = string.ascii_lowercase + string.digits
_LABEL = "#$%&*+-./:;<>?@[]\\^_`{|}~" + string.ascii_letters + string.digits

labels_of_dns = st.builds(
    lambda first, middle, last: first + middle + last,
    st.sampled_from(_LETTERS),
    st.text(_LETTERS + "-", max_size=12),
    st.sampled_from(_LETTERS),
) | st.sampled_from([*_LETTERS, "null", "true", "no", "1e3", "0x1f", "007", "a" * 63])
names = labels_of_dns.map(Name.parse)
macs = st.integers(1, (1 << 48) - 1).map(lambda n: n & ~(1 << 40)).filter(bool).map(lambda n: Mac.parse(f"{n:012x}"))
domains = st.lists(labels_of_dns, min_size=1, max_size=3).map(lambda parts: Domain.parse(".".join(parts)))
iqns = st.builds(
    lambda month, parts, rest: Iqn.parse(f"iqn.2026-{month:02}.{'.'.join(parts)}{rest}"),
    st.integers(1, 12),
    st.lists(labels_of_dns.filter(lambda part: len(part) < 20), min_size=2, max_size=3),
    st.sampled_from(["", ":a", ":lab:client:pc07", ":-.:"]),
)
addresses = st.integers(1 << 24, 0xDFFFFFFF).map(lambda n: Ipv4.parse(str(ipaddress.IPv4Address(n))))
sizes = st.builds(lambda n, unit: Size.parse(f"{n}{unit}"), st.integers(1, 1 << 20), st.sampled_from(list(Size.units)))
durations = st.builds(
    lambda n, unit: Duration.parse(f"{n}{unit}"), st.integers(1, 3650), st.sampled_from(list(Duration.units))
)
shown = st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" ")
_policies = st.fixed_dictionaries(
    {},
    optional={
        "ggnet/paused": st.sampled_from(["true", "false"]),
        "ggnet/deletion-policy": st.sampled_from(["delete", "orphan"]),
        "ggnet/prune": st.sampled_from(["disabled", "enabled"]),
    },
)
_own = st.dictionaries(
    st.text(shown, min_size=1, max_size=9).filter(lambda key: not key.startswith("ggnet/")),
    st.text(shown | st.sampled_from("\n\t"), max_size=20),
    max_size=2,
)


@st.composite
def metadata(draw: st.DrawFn, name: str | None = None) -> dict[str, object]:
    labels = st.dictionaries(st.text(_LABEL, min_size=1, max_size=9), st.text(_LABEL, max_size=9), max_size=2)
    return {
        "name": draw(names) if name is None else name,
        "labels": draw(labels),
        "annotations": draw(_policies) | draw(_own),
    }


@st.composite
def networks(draw: st.DrawFn, name: str | None = None, cidr: Cidr | None = None) -> Network:
    """Of at least 16 addresses: the server at .1, a range in the upper half or none."""
    if cidr is None:
        start = draw(st.integers(1 << 24, 0xDFFFFFFF))
        cidr = Cidr.parse(str(ipaddress.IPv4Network((start, draw(st.integers(8, 28))), strict=False)))
    inside, half = cidr.network, cidr.network.num_addresses // 2
    spec: dict[str, object] = {
        "cidr": cidr,
        "serverAddress": str(inside[1]),
        "gateway": draw(st.none() | st.integers(1, half - 1).map(lambda n: str(inside[n]))),
        "dns": draw(st.lists(addresses, max_size=2)),
        "ntp": draw(st.lists(addresses, max_size=2)),
        "domain": draw(st.none() | domains),
        "dhcp": draw(st.sampled_from(["authoritative", "external"])),
    }
    if draw(st.booleans()):
        start, end = sorted(draw(st.tuples(*[st.integers(half, 2 * half - 2)] * 2)))
        spec["range"] = {"start": str(inside[start]), "end": str(inside[end])}
    return Network.model_validate({"metadata": draw(metadata(name)), "spec": spec})


@st.composite
def machines(
    draw: st.DrawFn, name: str | None = None, cards: tuple[Mac, ...] = (), network: Network | None = None
) -> Machine:
    spec: dict[str, object] = {
        "macs": cards or draw(st.lists(macs, min_size=1, max_size=3, unique=True)),
        "firmware": draw(st.sampled_from(["auto", "bios", "uefi"])),
        "enabled": draw(st.booleans()),
    }
    if name is None:
        optional = {"address": addresses, "network": names, "hostname": names.map(Hostname.parse), "server": names}
        spec |= draw(st.fixed_dictionaries({}, optional={**optional, "initiator": iqns}))
        if "address" in spec and draw(st.booleans()):
            spec["chap"] = {"credential": draw(names)}
    if network is not None:
        spec["network"] = network.name
    return Machine.model_validate({"metadata": draw(metadata(name)), "spec": spec})


_retentions = st.fixed_dictionaries(
    {},
    optional={
        "keep": st.integers(0, 1000),
        "unused": durations,
        "protect": st.lists(st.integers(1, 999_999_999).map(lambda n: f"v{n}"), max_size=2),
        "collect": st.booleans(),
    },
)


@st.composite
def images(draw: st.DrawFn, name: str | None = None) -> Image:
    part = st.text(_LETTERS + "-_. @~", min_size=1, max_size=9).filter(lambda text: text not in (".", ".."))
    spec = {
        "source": {"path": "/".join(draw(st.lists(part, min_size=1, max_size=3)))},
        "format": draw(st.sampled_from(["auto", "raw", "qcow2", "vhd", "vhdx", "vmdk"])),
        "os": draw(st.sampled_from(["windows", "linux", "other"])),
        "retention": draw(st.none() | _retentions),
    }
    return Image.model_validate({"metadata": draw(metadata(name)), "spec": spec})


@st.composite
def sessions(
    draw: st.DrawFn, name: str | None = None, machine: str | None = None, image: str | None = None, state: str | None = None
) -> Session:
    pin = draw(st.none() | st.integers(1, 999_999_999))
    ref = ImageRef.parse((image or draw(names)) + (f"@v{pin}" if pin else ""))
    disks = st.fixed_dictionaries(
        {"name": st.from_regex("[a-z0-9]{1,11}", fullmatch=True), "image": st.just(ref)},
        optional={"persistence": st.sampled_from(["keep", "readonly"]), "overlayLimit": sizes},
    )
    several = draw(st.none() | st.lists(disks, min_size=1, max_size=3, unique_by=lambda disk: str(disk["name"])))
    spec = {
        "machine": machine or draw(names),
        **({"disks": several} if several else {"image": ref}),
        "state": state or draw(st.sampled_from(["running", "stopped"])),
        "persistence": draw(st.sampled_from(["ephemeral", "keep", "readonly"])),
        "overlayLimit": draw(st.none() | sizes),
        "ttl": draw(st.none() | durations),
    }
    return Session.model_validate({"metadata": draw(metadata(name)), "spec": spec})


objects: st.SearchStrategy[Object] = st.one_of(networks(), machines(), images(), sessions())


@st.composite
def sites(draw: st.DrawFn, most: int = 6) -> tuple[Object, ...]:
    """A whole set that ``references.check`` has nothing to say about, in the loader's order.

    One or two networks, up to ``most`` machines with and without fixed addresses, images, at most one running session a
    machine.
    """
    nets = [draw(networks(f"net{n}", Cidr.parse(f"10.{n}.0.0/24"))) for n in range(draw(st.integers(1, 2)))]
    count = draw(st.integers(0, most))
    cards = draw(st.lists(macs, min_size=count, max_size=count, unique=True))
    pcs: list[Machine] = []
    for number, mac in enumerate(cards):
        net = draw(st.sampled_from(nets))
        machine = draw(machines(f"pc{number}", (mac,), net))
        free = [a for a in map(str, (net.spec.cidr.network[n] for n in (20 + number, 40 + number))) if a != net.spec.gateway]
        address = draw(st.none() | st.sampled_from(free).map(Ipv4.parse))
        pcs.append(machine.model_copy(update={"spec": machine.spec.model_copy(update={"address": address})}))
    golden = [draw(images(f"image{n}")) for n in range(draw(st.integers(1, 2)))]
    chosen = draw(st.lists(st.sampled_from(pcs), unique_by=lambda pc: pc.name)) if pcs else []
    runs = [draw(sessions(pc.name, pc.name, draw(st.sampled_from(golden)).name)) for pc in chosen]
    return (*nets, *pcs, *golden, *sorted(runs, key=lambda session: session.name))
