"""Short spellings of stored objects, and of a host on which nothing has happened yet."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from controller.core.names import Site
from controller.core.observed import DhcpState, Observed, PoolState, SourceFile, Stamp
from manifests.image import Image
from manifests.kinds import KINDS, Object
from manifests.machine import Machine
from manifests.network import Network
from manifests.session import Session
from tests.controller.core.simulate import World

SITE = Site(site="lab", server="one")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GIB = 1 << 30
POOL = "/pool"


def stored(kind: str, name: str, spec: dict[str, Any], **meta: Any) -> Any:
    """An object as the store would give it: with uid and generation."""
    uid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{name}/{meta.pop('life', 1)}"))
    metadata = {"name": name, "uid": uid, "generation": 1, "createdAt": NOW - timedelta(hours=1), **meta}
    return KINDS[kind].model_validate({"kind": kind, "metadata": metadata, "spec": spec})


def network(name: str = "main", third: int = 0, **spec: Any) -> Network:
    base = f"10.77.{third}"
    whole = {"cidr": f"{base}.0/24", "serverAddress": f"{base}.1", "range": {"start": f"{base}.200", "end": f"{base}.250"}}
    made = stored("Network", name, {**whole, **spec})
    assert isinstance(made, Network)
    return made


def mac(number: int, card: int = 0) -> str:
    return f"52:54:00:{card:02x}:{number >> 8:02x}:{number & 255:02x}"


def machine(number: int, *, meta: dict[str, Any] | None = None, **spec: Any) -> Machine:
    made = stored(
        "Machine", f"pc{number}", {"macs": [mac(number)], "address": f"10.77.0.{number + 10}", **spec}, **(meta or {})
    )
    assert isinstance(made, Machine)
    return made


def image(name: str = "win11", *, channels: dict[str, str] | None = None, **meta: Any) -> Image:
    made = stored("Image", name, {"source": {"path": f"{name}.raw"}, "channels": channels}, **meta)
    assert isinstance(made, Image)
    return made


def session(number: int, *, meta: dict[str, Any] | None = None, **spec: Any) -> Session:
    made = stored("Session", f"pc{number}", {"machine": f"pc{number}", "image": "win11", **spec}, **(meta or {}))
    assert isinstance(made, Session)
    return made


def host(images: Sequence[str] = ("win11",), edition: int = 1) -> World:
    """A boot server with nothing on it but image sources in the import folder."""
    sources = {name: SourceFile(Stamp(4 * GIB, edition)) for name in images}
    return World(
        Observed(
            pool=PoolState(sources=sources, free=900 * GIB, total=1000 * GIB),
            nbps={"ipxe.efi": "e" * 64, "undionly.kpxe": "b" * 64},
            dhcp=DhcpState(running=True),
            complete=frozenset({"pool", "lio", "tftp", "dhcp"}),
            pool_dir=POOL,
        )
    )


def room(*numbers: int) -> list[Object]:
    """A network, an image, and for each number a machine that runs it."""
    machines = [thing for n in numbers for thing in (machine(n), session(n))]
    return [network(), image(), *machines]
