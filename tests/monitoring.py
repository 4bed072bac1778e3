"""What expressions for Prometheus ask for, and whether a text of metrics has it.

No evaluator: it finds the selectors and the labels that an expression groups by, which is what goes wrong when a metric is
renamed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"(?<![\w:.])([A-Za-z_:][\w:]*)\s*(\{[^}]*\})?(\s*\()?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}

# What Prometheus itself adds to every series, and the one that it makes.
_ADDED = {"instance", "job"}
_OWN: dict[str, list[Mapping[str, str]]] = {"up": [{"instance": "", "job": "ggnet"}]}

Samples = Mapping[str, list[Mapping[str, str]]]


@dataclass(frozen=True)
class Selector:
    name: str
    matchers: tuple[tuple[str, str, str], ...]


def samples(text: str) -> Samples:
    """The label sets of every series, by its name."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, []).append(one.labels)
    return {**found, **_OWN}


def selectors(expression: str) -> Iterator[Selector]:
    bare = re.sub(r"\[[^\]]*\]", "", _GROUPING.sub(" ", expression))
    for name, braces, call in _SELECTOR.findall(bare):
        if not call and name.lower() not in _WORDS:
            yield Selector(name, tuple(_MATCHER.findall(braces)))


def grouped(expression: str) -> set[str]:
    return {label.strip() for _, labels in _GROUPING.findall(expression) for label in labels.split(",") if label.strip()}


def unfed(expression: str, known: Samples) -> list[str]:
    """Why this would show nothing, or group by nothing: one sentence for each reason."""
    found = list(selectors(expression))
    wrong = [] if found else ["it asks for no metric"]
    for one in found:
        series = known.get(one.name)
        if not series:
            wrong.append(f"there is no metric {one.name}")
            continue
        labels = {label for each in series for label in each} | _ADDED
        wrong += [f"{one.name} has no label {label}" for label, _, _ in one.matchers if label not in labels]
        wrong += [f"{one.name} has no label {label}" for label in grouped(expression) - labels]
        equal = {label: value for label, sign, value in one.matchers if sign == "="}
        if not any(all(each.get(label) == value for label, value in equal.items()) for each in series):
            wrong.append(f"no {one.name} has {equal}")
        for label, sign, value in one.matchers:
            if sign == "!=" and not any(each.get(label) == value for each in series):
                wrong.append(f"no {one.name} has the {label} {value!r} that is left out")
    return wrong
