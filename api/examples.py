"""What the OpenAPI document shows of manifests: the example site that comes with the language, as people write it where it
is sent, and with what the server adds where it is answered. It is told once, among the components; routes refer to it.
"""

from importlib.resources import files
from typing import Any, Literal

from manifests.kinds import Object
from manifests.load import is_manifest, load

_SITE = files("manifests") / "examples"
_SHOWN = ("Network/main", "Machine/pc07", "Image/demo", "Session/pc07")
_VERSION = 42
_ADDED = {
    "uid": "0d5e0a2e-8f0b-4a2e-9b7e-2f6f0c1d2e3f",
    "generation": 1,
    "resourceVersion": _VERSION,
    "createdAt": "2026-01-05T12:00:00Z",
    "managedBy": "api:ada",
}
_READY = {
    "type": "Ready",
    "status": "True",
    "reason": "Converged",
    "message": "",
    "lastTransitionTime": "2026-01-05T12:00:00Z",
    "observedGeneration": 1,
}


def manifest(kind: str) -> dict[str, Any]:
    """For a media type: one of this kind, as it is sent."""
    return _refer(kind)


def answer(kind: str) -> dict[str, Any]:
    """For a media type: one of this kind, as it is answered."""
    return _refer(f"{kind}Answer")


def page(kind: str) -> dict[str, Any]:
    """For a media type: a list of this kind."""
    return _refer(f"{kind}Page")


def site(form: Literal["yaml", "json"]) -> dict[str, Any]:
    """For a media type: all of them in one body."""
    return _refer(f"Site.{form}")


def components() -> dict[str, Any]:
    """Of the document: what the others refer to."""
    texts = {file.name: file.read_bytes() for file in _SITE.iterdir() if is_manifest(file.name)}
    loaded = {one.key: one for one in load(texts).objects}
    shown = [loaded[key] for key in _SHOWN]
    examples: dict[str, Any] = {
        "Site.yaml": "---\n".join(texts[name].decode() for name in sorted(texts)),
        "Site.json": {"items": [_sent(one) for one in shown]},
    }
    for one in shown:
        answered = _answered(one)
        listed = {"items": [answered], "metadata": {"resourceVersion": _VERSION}}
        examples |= {one.kind: _sent(one), f"{one.kind}Answer": answered, f"{one.kind}Page": listed}
    return {"examples": {name: {"value": value} for name, value in examples.items()}}


def _refer(name: str) -> dict[str, Any]:
    return {"examples": {name: {"$ref": f"#/components/examples/{name}"}}}


def _sent(item: Object) -> dict[str, Any]:
    """What somebody wrote of it, and no more."""
    return item.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _answered(item: Object) -> dict[str, Any]:
    wire = item.wire()
    status = {"observedGeneration": 1, "phase": "Ready", "conditions": [_READY]}
    return {**wire, "metadata": {**wire["metadata"], **_ADDED}, "status": status}
