"""What a reading of a source amounts to, before anything is stored: taken whole, refused whole, or held by the guard.

Pure, so that the rule by which nothing is ever deleted by accident can be shown on its own.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from controller.core.prune import guard
from manifests.kinds import Object
from manifests.load import Invalid, Loaded, Problem, load
from manifests.meta import PRUNE
from manifests.references import check


@dataclass(frozen=True, slots=True)
class Verdict:
    """``objects`` are to be stored only when accepted; ``problems`` say why not, with file and line."""

    verdict: Literal["accepted", "refused", "guarded"]
    objects: tuple[Object, ...] = ()
    problems: tuple[Problem, ...] = ()


def judge(files: Mapping[str, bytes], manager: str, stored: Collection[Object], *, approved: bool) -> Verdict:
    """The verdict on a source read whole, given all objects that are stored, this source's own among them."""
    try:
        loaded = load(files)
        others = [one for one in stored if one.metadata.managed_by != manager]
        ours = {one.key for one in loaded.objects}
        rest = [one for one in others if one.key not in ours]  # the same key is taken, and that says all
        problems = (*_taken(loaded, others), *check([*rest, *loaded.objects], loaded.origins))
        if problems:
            raise Invalid(problems)
    except Invalid as error:
        return Verdict("refused", problems=tuple(error.problems))
    gone = _gone(loaded.objects, manager, stored)
    held = sum(one.metadata.managed_by == manager and one.metadata.deleted_at is None for one in stored)
    if approved or not gone or (loaded.objects and guard(held, len(gone))):
        return Verdict("accepted", loaded.objects)
    what = "is empty" if not loaded.objects else f"would delete {len(gone)} of {held} objects"
    remedy = "if that is meant, approve it: ggnet history --approve SHA"
    return Verdict(
        "guarded", problems=(Problem("", 0, "", "", f"the source {what}, more than the prune guard allows; {remedy}"),)
    )


def _gone(objects: Iterable[Object], manager: str, stored: Iterable[Object]) -> list[str]:
    kept = {one.key for one in objects}
    return [
        one.key
        for one in stored
        if one.metadata.managed_by == manager
        and one.metadata.deleted_at is None
        and one.key not in kept
        and one.metadata.annotations.get(PRUNE) != "disabled"
    ]


def _taken(loaded: Loaded, others: Iterable[Object]) -> Iterable[Problem]:
    managers = {one.key: one.metadata.managed_by for one in others}
    return [
        Problem(
            *loaded.origins[one.key],
            one.key,
            "metadata.name",
            f"{one.key} is managed by {managers[one.key]}; delete it there first",
        )
        for one in loaded.objects
        if one.key in managers
    ]
