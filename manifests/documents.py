"""Bytes -> plain values, by YAML 1.2's core schema, from libyaml's events.

Values are built here and not by a yaml.Loader: that one can be crashed by deep nesting, reads ``10:20:30:40:50:59``
as a number and ``no`` as false, and lets the second of two equal keys win. Of the core schema only null, true and
false are resolved. Numbers keep their text: no field of the language is one, and a MAC address written
``525400000007`` or a machine called ``007`` must stay what was written. Every bound here is on what the reader would
have to hold or walk, so that a small file can never cost much.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from manifests.types import shown

MAX_FILE_BYTES = 16 << 20
MAX_SET_BYTES = 64 << 20
MAX_DOCUMENTS = 200_000
MAX_DEPTH = 32
MAX_WIDTH = 1000
MAX_NODES = 2_000_000

Path = tuple[str | int, ...]
Lines = Mapping[Path, Mapping[str | int, int]]
Flaw = tuple[int, Path, str]

_CORE: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NO_KEY = {*_CORE, "<<"}
_STRANGE = re.compile("[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_PLAIN_ASCII = bytes([9, 10, 13, *range(32, 127)])
_INDENT_TAB = re.compile(r"^ *\t", re.MULTILINE)
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class Unreadable(Exception):
    """From ``line`` on, nothing of this file can be read."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """One manifest as plain values: dict, list, str, bool, None.

    ``base`` is where it stands in its YAML document: ``()``, or ``("items", 3)`` in a list. ``top`` is the first line of
    that document, ``lines`` holds, by the path of each mapping and list of that
    document, the lines of what is in it. ``flaws`` are what could not be taken as it
    stands: line, path, message.
    """

    value: Any
    top: int
    base: Path
    lines: Lines
    flaws: tuple[Flaw, ...]

    def line(self, path: Path) -> int:
        """The line of the node at this path within the manifest, or of the nearest one around it."""
        path = (*self.base, *path)
        while path and path[-1] not in self.lines.get(path[:-1], {}):
            path = path[:-1]
        return self.lines[path[:-1]][path[-1]] if path else self.top

    def fields(self, name: str) -> Mapping[str | int, int]:
        """The lines of the fields of one mapping of the manifest, such as its ``spec``."""
        return self.lines.get((*self.base, name), {})


def documents(data: bytes, *, json: bool = False) -> Iterator[Document]:
    """The manifests in a file; empty documents are passed over. Raises Unreadable, after what came before it.

    A document is one manifest, or a list of them: ``[...]`` or ``{items: [...]}``, as the API answers a list.
    """
    take = yaml.CBaseLoader(_text(data, json=json)).get_event
    builder = _Builder(take)
    try:
        while (event := take()) is not None:
            if type(event) is not DocumentStartEvent:
                continue
            root = builder.document()
            if root.value is None and not root.flaws:
                continue
            base: Path = ("items",) if isinstance(root.value, dict) and isinstance(root.value.get("items"), list) else ()
            listed = root.value["items"] if base else root.value
            if not isinstance(listed, list):
                yield root
                continue
            yield from _listed(root, base, listed)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "context", None) or "not YAML"
        raise Unreadable(mark.line + 1 if mark else 1, f"not valid YAML: {what}") from None


def _listed(root: Document, base: Path, items: list[Any]) -> Iterator[Document]:
    depth = len(base) + 1
    flaws: dict[Path, list[Flaw]] = {}
    for line, path, message in root.flaws:
        flaws.setdefault(path[:depth], []).append((line, path[depth:], message))
    for number, item in enumerate(items):
        place = (*base, number)
        yield Document(item, root.top, place, root.lines, tuple(flaws.pop(place, ())))
    outside = tuple(flaw for found in flaws.values() for flaw in found)
    if outside:
        yield Document(None, root.top, base, root.lines, outside)


def _text(data: bytes, *, json: bool) -> bytes:
    """The same bytes, once they are known to be text that libyaml reads in linear time; Unreadable."""
    if len(data) > MAX_FILE_BYTES:
        raise Unreadable(0, f"{len(data)} bytes: a file of manifests has at most {MAX_FILE_BYTES}")
    if data[:3] == b"\xef\xbb\xbf":
        raise Unreadable(1, "starts with a byte order mark: save it as UTF-8 without BOM")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Unreadable(1, "is UTF-16: save it as UTF-8")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(data.count(b"\n", 0, error.start) + 1, "is not text: this line is not UTF-8") from None
    if not data.isascii() or data.translate(None, _PLAIN_ASCII):
        _refuse(text, _STRANGE, "is not text: the character U+{:04X} may not stand in a manifest")
    if not json and b"\t" in data:
        _refuse(text, _INDENT_TAB, "a tab at the start of a line: indent with spaces")
    if b"%" in data:
        _refuse(text, _DIRECTIVE, "a directive: manifests are YAML 1.2 without %YAML and %TAG")
    if json and b"\\u" in data:
        return _SURROGATES.sub(_joined, text).encode()
    return data


def _refuse(text: str, pattern: re.Pattern[str], message: str) -> None:
    if found := pattern.search(text):
        raise Unreadable(text.count("\n", 0, found.start()) + 1, message.format(ord(found[0][0])))


def _joined(pair: re.Match[str]) -> str:
    """JSON writes an astral character as two escapes (RFC 8259, 7); libyaml knows only whole ones."""
    return pair[1] + chr(0x10000 + ((int(pair[2], 16) & 0x3FF) << 10) + (int(pair[3], 16) & 0x3FF))


class _Builder:
    """Builds the documents of one stream, one after the other, and keeps the line of every node.

    The common case, a plain field with a scalar in it, is written out in the loops: it is nine tenths of the time.
    """

    __slots__ = ("_documents", "_flaws", "_lines", "_nodes", "_take")

    def __init__(self, take: Callable[[], Any]) -> None:
        self._take = take
        self._documents = 0
        self._nodes = 0
        self._lines: dict[Path, dict[str | int, int]] = {}
        self._flaws: list[Flaw] = []

    def document(self) -> Document:
        """What follows a DocumentStartEvent, its DocumentEndEvent included."""
        self._lines, self._flaws = {}, []
        event = self._take()
        self._documents += 1
        top = _line(event)
        if self._documents > MAX_DOCUMENTS:
            raise Unreadable(top, f"more than {MAX_DOCUMENTS} documents")
        value = self._value(event, ())
        self._take()
        return Document(value, top, (), self._lines, tuple(self._flaws))

    def _value(self, event: Any, path: Path) -> Any:
        kind = type(event)
        if kind is AliasEvent:
            self._flaw(event, path, f"*{shown(event.anchor)[1:-1]} is an alias: write the value out")
            return None
        if event.anchor is not None:
            self._flaw(event, path, f"&{shown(event.anchor)[1:-1]} is an anchor: write the value out where it is needed")
        if event.tag is not None:
            self._flaw(event, path, f"{shown(event.tag)} is a tag: manifests have none; quote what shall be text")
        if kind is ScalarEvent:
            return _CORE.get(event.value, event.value) if event.implicit[0] else event.value
        if len(path) >= MAX_DEPTH:
            raise Unreadable(_line(event), f"nested deeper than {MAX_DEPTH} levels")
        return self._mapping(path) if kind is MappingStartEvent else self._sequence(path)

    def _mapping(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines = self._lines[path] = {}
        take = self._take
        count = 0
        while type(event := take()) is not MappingEndEvent:
            line = event.start_mark.line + 1
            if (count := count + 1) > MAX_WIDTH:
                raise Unreadable(line, f"a mapping with more than {MAX_WIDTH} fields")
            if type(event) is ScalarEvent and event.anchor is None and event.tag is None and event.value not in _NO_KEY:
                key = event.value
            else:
                key = self._key(event, path)
            value = take()
            if key in values:
                self._flaw(event, path, f"{shown(key)} stands here twice, first in line {lines[key]}")
                self._value(value, (*path, key))
                continue
            lines[key] = line
            if type(value) is ScalarEvent and value.anchor is None and value.tag is None:
                text = value.value
                values[key] = _CORE[text] if text in _CORE and value.implicit[0] else text
            else:
                values[key] = self._value(value, (*path, key))
        self._count(count, _line(event))
        return values

    def _key(self, event: Any, path: Path) -> str:
        """An unusual key as text; what cannot be one is told, and read as its own spelling so that the rest can be."""
        if type(event) is not ScalarEvent:
            self._flaw(event, path, "a key that is not text")
            self._value(event, (*path, "?"))
            return "?"
        if event.anchor is not None or event.tag is not None:
            self._flaw(event, path, f"the key {shown(event.value)} has an anchor or a tag: manifests have none")
        elif event.implicit[0]:
            meant = "a merge key: write the fields out" if event.value == "<<" else "not text: write it in quotes"
            self._flaw(event, path, f"the key {shown(event.value)} is {meant}")
        key: str = event.value
        return key

    def _sequence(self, path: Path) -> list[Any]:
        values: list[Any] = []
        lines = self._lines[path] = {}
        most = MAX_DOCUMENTS if path in ((), ("items",)) else MAX_WIDTH
        while type(event := self._take()) is not SequenceEndEvent:
            line = event.start_mark.line + 1
            if len(values) >= most:
                raise Unreadable(line, f"a list with more than {most} items")
            lines[len(values)] = line
            values.append(self._value(event, (*path, len(values))))
        self._count(len(values), _line(event))
        return values

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise Unreadable(line, f"more than {MAX_NODES} fields and items in one file")

    def _flaw(self, event: Any, path: Path, message: str) -> None:
        self._flaws.append((_line(event), path, message))


def _line(event: Any) -> int:
    line: int = event.start_mark.line + 1
    return line
