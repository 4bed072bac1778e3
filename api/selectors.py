"""Label selectors: ``room=main,tier!=test,gpu,!old,room in (a,b),room notin (c)``; all terms must hold."""

import re
from collections.abc import Callable, Mapping

from api.errors import Malformed
from manifests.types import shown

Matches = Callable[[Mapping[str, str]], bool]

MOST = 100
"""Terms of a selector: each is asked of each object."""
_KEY = r"[^\s=!,()]{1,317}"
_SET = re.compile(rf"\s*({_KEY})\s+(in|notin)\s*\(([^()]*)\)\s*", re.ASCII)
_EQUAL = re.compile(rf"\s*({_KEY})\s*(==|=|!=)\s*([^\s=!,()]{{0,63}})\s*", re.ASCII)
_HAS = re.compile(rf"\s*(!?)\s*({_KEY})\s*", re.ASCII)


def parse(text: str) -> Matches:
    """Malformed."""
    terms: list[Matches] = []
    position = 0
    while position < len(text):
        if len(terms) == MOST:
            raise Malformed(f"labelSelector has more than {MOST} terms: ask for less at once.", "labelSelector")
        term, position = _term(text, position)
        terms.append(term)
        if position < len(text):
            if text[position] != "," or position + 1 == len(text):
                raise _bad(text)
            position += 1
    return lambda labels: all(term(labels) for term in terms)


def _term(text: str, position: int) -> tuple[Matches, int]:
    if found := _SET.match(text, position):
        return _among(found[1], found[2] == "in", [value.strip() for value in found[3].split(",")]), found.end()
    if found := _EQUAL.match(text, position):
        return _among(found[1], found[2] != "!=", [found[3]]), found.end()
    if found := _HAS.match(text, position):
        return _has(found[2], found[1] != "!"), found.end()
    raise _bad(text)


def _among(key: str, wanted: bool, values: list[str]) -> Matches:
    chosen = frozenset(values)
    return lambda labels: (labels.get(key) in chosen) is wanted


def _has(key: str, wanted: bool) -> Matches:
    return lambda labels: (key in labels) is wanted


def _bad(text: str) -> Malformed:
    message = f"labelSelector {shown(text)} is not a selector: write it like room=main,tier!=test,gpu"
    return Malformed(message, "labelSelector")
