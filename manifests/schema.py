"""JSON Schema (2020-12) of the language, for editors and other programs.

The shapes come from the models. Stricter than those in one way: a document must say its apiVersion and kind. What the
server adds is allowed, so that what ``get -o yaml`` answers is valid, and marked read-only.
"""

from typing import Any

from manifests.commits import COMMIT
from manifests.kinds import KINDS
from manifests.meta import API_VERSION, LABEL, POLICIES, SERVER_FIELDS, Metadata

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(kind: str) -> dict[str, Any]:
    """The schema of one kind. KeyError for a kind that does not exist."""
    shape = KINDS[kind].model_json_schema(by_alias=True, mode="validation")
    definitions = shape.pop("$defs")
    properties = shape["properties"]
    properties["apiVersion"] = {"const": API_VERSION}
    properties["kind"] = {"const": kind}
    properties["metadata"] = _metadata()
    properties["status"] = {"type": ["object", "null"], "readOnly": True, "description": "What was observed."}
    shape["required"] = ["apiVersion", "kind", "metadata", "spec"]
    kept = ("Spec", "Source", "Range", "Retention", "Chap")
    used = {name: _clean(one) for name, one in definitions.items() if name.endswith(kept)}
    return {"$schema": _DIALECT, "$id": f"urn:ggnet:v1:{kind.lower()}", **_clean(shape), "$defs": used}


def union() -> dict[str, Any]:
    """The schema of a document of any kind: what an editor is given for a folder of manifests."""
    kinds = {kind: schema(kind) for kind in KINDS}
    return {
        "$schema": _DIALECT,
        "$id": "urn:ggnet:v1",
        "title": "GGnet manifest",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"kind": {"enum": list(kinds)}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": {"$ref": one["$id"]}}
            for kind, one in kinds.items()
        ],
        "$defs": {kind.lower(): one for kind, one in kinds.items()},
    }


def _metadata() -> dict[str, Any]:
    shape = Metadata.model_json_schema(by_alias=True, mode="validation")
    for name in SERVER_FIELDS:
        shape["properties"][name] = {"readOnly": True, "description": "Set by the server."}
    properties = shape["properties"]
    properties["labels"]["propertyNames"] = {"pattern": f"^{LABEL}{{1,317}}$"}
    properties["labels"]["additionalProperties"] = {"type": "string", "pattern": f"^{LABEL}{{0,63}}$"}
    properties["annotations"]["properties"] = {name: {"enum": list(values)} for name, values in POLICIES.items()}
    properties["annotations"]["propertyNames"] = {"pattern": f"^({'|'.join((*POLICIES, COMMIT))}|(?!ggnet/).{{1,317}})$"}
    properties["annotations"]["additionalProperties"]["maxLength"] = 4096
    clean: dict[str, Any] = _clean(shape)
    return clean


def _clean(shape: Any) -> Any:
    """Without the titles that pydantic makes up from the names."""
    if isinstance(shape, list):
        return [_clean(one) for one in shape]
    if not isinstance(shape, dict):
        return shape
    return {key: _clean(value) for key, value in shape.items() if key != "title" or not isinstance(value, str)}
