"""Files of manifests -> objects; a set is taken whole or refused whole.

Everything that is wrong is told at once, each with file, line, object and field. What only the server may say
(``status``, ``uid`` and the like) is dropped from a document, so that what ``get -o yaml`` answers can be applied again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from manifests.commits import COMMIT
from manifests.documents import MAX_FILE_BYTES, MAX_SET_BYTES, Document, Path, Unreadable, documents
from manifests.kinds import KINDS, Object
from manifests.meta import API_VERSION, SERVER_FIELDS
from manifests.problems import Invalid, Problem
from manifests.refusals import field_name, refusals
from manifests.types import Name, shown

__all__ = ["MAX_FILE_BYTES", "MAX_SET_BYTES", "Invalid", "Loaded", "Origin", "Problem", "is_manifest", "load"]

_SERVER_FIELDS = frozenset(SERVER_FIELDS)
_ORDER = {kind: number for number, kind in enumerate(KINDS)}


class Origin(tuple[str, int]):
    """``(file, line)`` of an object; ``fields`` has the lines of its spec's fields."""

    fields: Mapping[str | int, int]

    def __new__(cls, file: str, line: int, fields: Mapping[str | int, int]) -> "Origin":
        origin = super().__new__(cls, (file, line))
        origin.fields = fields
        return origin


@dataclass(frozen=True, slots=True)
class Loaded:
    """A set without a problem in it (references to each other aside: ``references.check``).

    ``objects`` by kind, in the order in which kinds refer to each other, then by name. ``origins`` by key.
    ``documents`` is how many manifests were read. ``expect`` holds the resourceVersion of those that named one.
    """

    objects: tuple[Object, ...]
    origins: Mapping[str, Origin]
    documents: int
    expect: Mapping[str, int] = field(default_factory=dict)


def is_manifest(name: str) -> bool:
    """Whether a file of this path, in a folder of manifests, is one: ``*.yaml *.yml *.json``, nothing hidden."""
    return name.endswith((".yaml", ".yml", ".json")) and not any(part.startswith(".") for part in name.split("/"))


def load(files: Mapping[str, bytes]) -> Loaded:
    """All the objects in these files, whatever they are called. Invalid, with all that is wrong with them.

    No file at all is a valid set of nothing: whether that may be believed is for its reader to say.
    """
    reading = _Reading()
    if (size := sum(map(len, files.values()))) > MAX_SET_BYTES:
        raise Invalid([Problem("", 0, "", "", f"{size} bytes in {len(files)} files: a set has at most {MAX_SET_BYTES}")])
    for name in sorted(files):
        reading.file(name, files[name])
    if reading.problems:
        raise Invalid(reading.problems)
    objects = tuple(sorted(reading.objects.values(), key=lambda one: (_ORDER[one.kind], one.name)))
    return Loaded(objects, reading.origins, reading.documents, reading.expect)


class _Reading:
    """What has been read so far of a set."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.origins: dict[str, Origin] = {}
        self.expect: dict[str, int] = {}
        self.problems: list[Problem] = []
        self.documents = 0

    def file(self, name: str, data: bytes) -> None:
        try:
            for document in documents(data, json=name.endswith(".json")):
                self.documents += 1
                self._document(name, document)
        except Unreadable as problem:
            self.problems.append(Problem(name, problem.line, "", "", str(problem)))

    def _document(self, file: str, document: Document) -> None:
        value = document.value
        found = [] if value is None and document.flaws else _header(value)
        if value is not None and not found:
            model = KINDS[value["kind"]]
            expected = _drop_what_the_server_says(value)
            try:
                one: Object = model.model_validate(value, by_alias=True, by_name=False)
            except ValidationError as error:
                found = list(refusals(error, model))
        if not found and not document.flaws:
            self._take(file, document, one, expected)
            return
        subject = _subject(value)
        for path, message in found:
            self.problems.append(Problem(file, document.line(path), subject, field_name(path), message))
        for line, path, message in document.flaws:
            self.problems.append(Problem(file, line, subject, field_name(path), message))

    def _take(self, file: str, document: Document, one: Object, expected: int | None) -> None:
        key, line = one.key, document.line(())
        if (first := self.origins.get(key)) is not None:
            message = f"stands in this set twice, first in {first[0]}:{first[1]}"
            self.problems.append(Problem(file, line, key, "metadata.name", message))
            return
        self.objects[key] = one
        self.origins[key] = Origin(file, line, document.fields("spec"))
        if expected is not None:
            self.expect[key] = expected


def _subject(value: Any) -> str:
    """``Machine/pc07`` as far as the document says so, for messages: hostile names are left to the message."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        return ""
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    try:
        return f"{kind}/{Name.parse(name)}"
    except ValueError:
        return kind


def _header(value: Any) -> list[tuple[Path, str]]:
    """What is wrong with ``apiVersion`` and ``kind``, which say how to read the rest."""
    if not isinstance(value, dict):
        return [((), f"{shown(value)} is no manifest: that is a mapping with apiVersion, kind, metadata and spec")]
    found: list[tuple[Path, str]] = []
    if "apiVersion" not in value:
        found.append((("apiVersion",), f"is missing: write apiVersion: {API_VERSION}"))
    elif value["apiVersion"] != API_VERSION:
        found.append((("apiVersion",), f"is {API_VERSION}, not {shown(value['apiVersion'])}"))
    if "kind" not in value:
        found.append((("kind",), f"is missing: one of {', '.join(KINDS)}"))
    elif not isinstance(value["kind"], str) or value["kind"] not in KINDS:
        found.append((("kind",), f"is one of {', '.join(KINDS)}, not {shown(value['kind'])}"))
    return found


def _drop_what_the_server_says(value: dict[str, Any]) -> int | None:
    """Takes ``status`` and the server's part of ``metadata`` out of the document; its resourceVersion."""
    value.pop("status", None)
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and isinstance(annotations := metadata.get("annotations"), dict):
        annotations.pop(COMMIT, None)
    if not isinstance(metadata, dict) or _SERVER_FIELDS.isdisjoint(metadata):
        return None
    version = metadata.get("resourceVersion")
    for name in SERVER_FIELDS:
        metadata.pop(name, None)
    return int(version) if isinstance(version, str) and re.fullmatch("[0-9]{1,18}", version, re.ASCII) else None
