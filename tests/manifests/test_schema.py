"""The exported JSON Schema, held against an independent validator."""

import copy
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from manifests.kinds import KINDS, Object
from manifests.schema import schema, union
from tests import strategies
from tests.manifests.sets import found
from tests.manifests.test_examples import EXAMPLES

_UNION = Draft202012Validator(union())
_EACH = {kind: Draft202012Validator(schema(kind)) for kind in KINDS}


def valid(document: object) -> bool:
    return bool(_UNION.is_valid(document))


def example(kind: str) -> dict[str, Any]:
    documents = [one.value for path in EXAMPLES for one in found(path.read_text())]
    return copy.deepcopy(next(one for one in documents if one["kind"] == kind))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_schema_of_the_2020_12_dialect(kind: str) -> None:
    Draft202012Validator.check_schema(schema(kind))
    assert _EACH[kind].is_valid(example(kind))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_valid(path: Any) -> None:
    for one in found(path.read_text()):
        _UNION.validate(one.value)


@given(strategies.objects)
def test_every_object_is_valid_as_it_stands_on_the_wire(one: Object) -> None:
    _UNION.validate(one.wire())
    assert [kind for kind in KINDS if _EACH[kind].is_valid(one.wire())] == [one.kind]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Machine", ("kind",), "Pod"),
        ("Machine", ("apiVersion",), "v1"),
        ("Machine", ("owner",), "me"),
        ("Machine", ("metadata", "name"), "PC07"),
        ("Machine", ("metadata", "name"), "../x"),
        ("Machine", ("metadata", "label"), {}),
        ("Machine", ("metadata", "labels"), {"a b": "c"}),
        ("Machine", ("metadata", "labels"), {"a": True}),
        ("Machine", ("metadata", "annotations"), {"ggnet/paused": "yes"}),
        ("Machine", ("metadata", "annotations"), {"ggnet/pause": "true"}),
        ("Machine", ("spec", "macs"), []),
        ("Machine", ("spec", "macs"), "52:54:00:00:00:07"),
        ("Machine", ("spec", "macs"), ["52:54:00:00:00"]),
        ("Machine", ("spec", "address"), "10.77.0.256"),
        ("Machine", ("spec", "enabled"), "yes"),
        ("Machine", ("spec", "firmware"), "BIOS"),
        ("Machine", ("spec", "mac"), "52:54:00:00:00:07"),
        ("Machine", ("spec", "initiator"), "iqn.2026-01.x"),
        ("Machine", ("spec", "chap"), "hush"),
        ("Machine", ("spec", "chap"), {}),
        ("Machine", ("spec", "chap"), {"credential": "../x"}),
        ("Machine", ("spec", "chap"), {"credential": "pc07", "password": "hush"}),
        ("Network", ("spec", "cidr"), "10.77.0.0/31"),
        ("Network", ("spec", "range"), {"start": "10.77.0.9"}),
        ("Image", ("spec", "source"), {"upload": "abc"}),
        ("Image", ("spec", "source"), {"url": "https://x/y"}),
        ("Image", ("spec", "source"), {"url": "http://x/y", "sha256": "a" * 64}),
        ("Image", ("spec", "source"), {"url": "https://me@x/y", "sha256": "a" * 64}),
        ("Image", ("spec", "source"), {"url": "https://x/y", "path": "x", "sha256": "a" * 64}),
        ("Image", ("spec", "source"), {"path": "../x"}),
        ("Image", ("spec", "source"), {"path": "/x"}),
        ("Image", ("spec", "source"), {"path": "a//x"}),
        ("Image", ("spec", "source"), {"path": "a/./x"}),
        ("Image", ("spec", "retention"), {"keep": -1}),
        ("Image", ("spec", "retention"), {"keep": True}),
        ("Image", ("spec", "retention"), {"keep": "03"}),
        ("Image", ("spec", "retention"), {"unused": 14}),
        ("Image", ("spec", "retention"), {"protect": ["latest"]}),
        ("Image", ("spec", "retention"), {"collect": "no"}),
        ("Session", ("spec", "image"), "win11@3"),
        ("Session", ("spec", "ttl"), "8"),
        ("Session", ("spec", "ttl"), 8),
        ("Session", ("spec", "overlayLimit"), "20GB"),
    ],
)
def test_what_the_loader_refuses_the_schema_refuses(kind: str, path: tuple[str, ...], value: object) -> None:
    document = example(kind)
    assert valid(document)
    inside = document
    for part in path[:-1]:
        inside = inside[part]
    inside[path[-1]] = value
    assert not valid(document)


@pytest.mark.parametrize("missing", ["apiVersion", "kind", "metadata", "spec"])
def test_a_document_says_what_it_is(missing: str) -> None:
    document = example("Machine")
    del document[missing]
    assert not valid(document)
