"""Manifests of a small room of PCs, as plain documents, and the text that a commit holds."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

Document = Mapping[str, Any]
IMAGE = "golden"


def _document(kind: str, name: str, spec: Mapping[str, Any], annotations: Mapping[str, str] | None = None) -> Document:
    metadata: dict[str, Any] = {"name": name}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": "ggnet/v1", "kind": kind, "metadata": metadata, "spec": dict(spec)}


def network(**spec: Any) -> Document:
    return _document("Network", "main", {"cidr": "10.77.0.0/24", "serverAddress": "10.77.0.1", **spec})


def image(name: str = IMAGE, path: str | None = None, **spec: Any) -> Document:
    return _document("Image", name, {"source": {"path": path or f"{name}.raw"}, "format": "raw", **spec})


def mac(number: int) -> str:
    return f"52:54:00:00:{number // 256:02x}:{number % 256:02x}"


def machine(name: str, number: int, **spec: Any) -> Document:
    """``number`` gives its MAC and its address."""
    return _document("Machine", name, {"macs": [mac(number)], "address": f"10.77.0.{number}", **spec})


def session(machine: str, image: str = IMAGE, annotations: Mapping[str, str] | None = None, **spec: Any) -> Document:
    """With ``disks`` it has these in the place of one of ``image``."""
    given = {} if "disks" in spec else {"image": image}
    return _document("Session", machine, {"machine": machine, **given, **spec}, annotations)


def labelled(document: Document, **labels: str) -> Document:
    return {**document, "metadata": {**document["metadata"], "labels": labels}}


def text(documents: Iterable[Document]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False)


ROOM = {"pc1": 101, "pc10": 110, "pc02": 102, "pc03": 103, "pc04": 104}


def room(*sessions: Document) -> list[Document]:
    """The room as it stands between tests, with these sessions in it. A test changes sessions, hardly ever machines."""
    return [network(), image(), *(machine(name, number) for name, number in ROOM.items()), *sessions]
