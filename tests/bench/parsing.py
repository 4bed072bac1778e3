"""Manifests: bytes to objects."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from yaml.events import AliasEvent, DocumentStartEvent, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent

from manifests.kinds import KINDS
from manifests.load import load
from tests.bench.documents import text
from tests.bench.rows import Goal, Row, Turns


def parse_rows(count: int, times: int) -> Iterator[Row]:
    data = text(count)
    documents = count + 2
    turns = Turns()
    turns.run(
        times,
        ours=lambda: uncollected(lambda: load({"site.yaml": data})),
        floor=lambda: uncollected(lambda: _bare(data)),
        peer=lambda: list(yaml.load_all(data, Loader=yaml.CSafeLoader)),
    )
    found = turns.samples
    yield Row(
        "parse + validate",
        documents,
        found["ours"],
        found["floor"],
        Goal("ratio", 1.3),
        "libyaml events -> dicts -> pydantic, no line numbers, no limits",
        found["peer"],
        "PyYAML CSafeLoader, dicts alone",
    )


def uncollected(work: Callable[[], object]) -> object:
    """As the intake of a source does it: the garbage collector rests meanwhile."""
    gc.disable()
    try:
        return work()
    finally:
        gc.enable()


def _bare(data: bytes) -> list[Any]:
    """The least: values from events, each validated once."""
    take = yaml.CBaseLoader(data).get_event
    made = []
    while (event := take()) is not None:
        if type(event) is DocumentStartEvent:
            value = _value(take(), take)
            made.append(KINDS[value["kind"]].model_validate(value, by_alias=True, by_name=False))
    return made


def _value(event: Any, take: Any) -> Any:
    if type(event) is ScalarEvent:
        return event.value
    if type(event) is MappingStartEvent:
        values = {}
        while type(event := take()) is not MappingEndEvent:
            values[event.value] = _value(take(), take)
        return values
    assert type(event) is not AliasEvent
    items = []
    while type(event := take()) is not SequenceEndEvent:
        items.append(_value(event, take))
    return items
