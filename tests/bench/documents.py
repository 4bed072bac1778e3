"""Manifests of a place with many machines, each with a running session, as text and as stored objects."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from controller.core.names import Site
from manifests.kinds import KINDS, Object

SITE = Site(site="lab", server="bs1")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SERVER = "10.77.0.1"
SIZE = 1 << 20


def mac(number: int) -> str:
    return "52:54:" + ":".join(f"{number >> shift & 255:02x}" for shift in (24, 16, 8, 0))


def address(number: int) -> str:
    return f"10.{100 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"


def text(count: int) -> bytes:
    """One file of YAML: a network, an image, ``count`` machines. No two are alike."""
    head = f"""apiVersion: ggnet/v1
kind: Network
metadata: {{name: main}}
spec: {{cidr: 10.0.0.0/8, serverAddress: {SERVER}}}
---
apiVersion: ggnet/v1
kind: Image
metadata: {{name: demo}}
spec: {{source: {{path: demo.raw}}, format: raw}}
"""
    machines = (
        f"""---
apiVersion: ggnet/v1
kind: Machine
metadata:
  name: pc{number:06d}
  labels:
    room: r{number // 30}
spec:
  macs:
    - "{mac(number)}"
  address: {address(number)}
"""
        for number in range(count)
    )
    return (head + "".join(machines)).encode()


def sessions(count: int) -> bytes:
    return "".join(
        f"""---
apiVersion: ggnet/v1
kind: Session
metadata: {{name: pc{number:06d}}}
spec: {{machine: pc{number:06d}, image: demo}}
"""
        for number in range(count)
    ).encode()


def stored(objects: tuple[Object, ...]) -> Iterator[Object]:
    """As the store would give them: with uid and generation."""
    for one in objects:
        uid = str(uuid.uuid5(uuid.NAMESPACE_URL, one.key))
        meta = one.metadata.model_copy(update={"uid": uid, "generation": 1, "created_at": NOW})
        yield KINDS[one.kind].model_construct(**{**one.__dict__, "metadata": meta})
