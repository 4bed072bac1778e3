"""How far one object is, and what stands in the way, from what a plan still wants to do for it.

And how that becomes a status: written only on change, with times that move only when a condition flips.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from controller.core.phases import Phase, Progress
from controller.core.steps import Blocked, Done, Failed, Outcome, Refused, Step, Underway
from controller.core.wire import words
from manifests.meta import Condition, Metadata, Status

S = TypeVar("S", bound=Status)
Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason`` is one CamelCase word, ``message`` says what waits and the remedy, ``held`` and ``drifted`` what is."""

    progress: Progress
    reason: str
    message: str
    held: str | None = None
    drifted: str | None = None

    @property
    def ready(self) -> Truth:
        if self.progress is Progress.DONE:
            return "True"
        return "Unknown" if self.progress is Progress.BLIND else "False"


def judge(
    steps: Sequence[Step],
    outcomes: Iterable[Outcome | None],
    *,
    blind: str | None = None,
    missing: tuple[str, str] | None = None,
    done: tuple[str, str] = ("Converged", ""),
) -> Verdict:
    """The first thing in the way, in this order: what cannot be read, what is missing, what failed, what is due, what is
    held. ``steps`` are those left for the object; ``missing`` and ``done`` are (reason, message)."""
    held = next((step.held for step in steps if step.held), None)
    drifted = next((words(step.action) for step in steps if step.cause == "drift"), None)
    due = next((step for step in steps if step.held is None), None)
    ended = tuple(outcomes)
    if blind:
        return Verdict(Progress.BLIND, "Unreadable", f"its state cannot be read: {blind}", held, drifted)
    if missing:
        return Verdict(Progress.MISSING, *missing, held, drifted)
    if due and (failure := _failure(ended)):
        return Verdict(Progress.FAILED, *failure, held, drifted)
    if due:
        going = next((outcome.message for outcome in ended if isinstance(outcome, Underway)), None)
        return Verdict(Progress.WORK, "Progressing", going or f"next: {words(due.action)}", held, drifted)
    if held:
        reason = "Suspended" if held.startswith("suspended") else "Waiting"
        return Verdict(Progress.HELD, reason, held, held, drifted)
    return Verdict(Progress.DONE, *done)


def _failure(outcomes: Iterable[Outcome | None]) -> tuple[str, str] | None:
    for outcome in outcomes:
        match outcome:
            case Refused(reason, message) | Failed(reason, message):
                return reason, message
            case Blocked(by):
                return "Blocked", f"an earlier step did not end well: {by}"
            case Done() | Underway() | None:
                pass
    return None


@dataclass(frozen=True, slots=True)
class Remark:
    """A condition that only this kind has. ``message`` None: it is not so, and was never told unless it once was."""

    type: str
    reason: str
    message: str | None
    status: Truth = "True"


def status_of(
    kind: type[S],
    old: S | None,
    meta: Metadata,
    phase: Phase,
    verdict: Verdict,
    facts: Mapping[str, Any],
    now: datetime,
    remarks: Sequence[Remark] = (),
) -> S:
    """The status, or ``old`` itself when nothing in it differs. ``facts`` are the fields that only this kind has."""
    generation = max(old.observed_generation if old else 0, meta.generation or 0)
    conditions = tuple(_conditions(old.conditions if old else (), verdict, remarks, generation, now))
    fields = {"observed_generation": generation, "phase": phase, "conditions": conditions, **facts}
    if old is not None and all(getattr(old, name) == value for name, value in fields.items()):
        return old
    return kind.model_validate(fields)


def _conditions(
    old: Iterable[Condition], verdict: Verdict, remarks: Sequence[Remark], generation: int, now: datetime
) -> Iterable[Condition]:
    """Ready always; the others from when they are first true."""
    before = {condition.type: condition for condition in old}
    yield _condition(before.get("Ready"), "Ready", verdict.ready, verdict.reason, verdict.message, generation, now)
    working = verdict.message if verdict.progress is Progress.WORK else None
    for one in (
        Remark("Progressing", verdict.reason, working),
        Remark("Held", verdict.reason if verdict.progress is Progress.HELD else "Waiting", verdict.held),
        Remark("Drifted", "Differs", verdict.drifted),
        *remarks,
    ):
        if one.message is not None:
            yield _condition(before.get(one.type), one.type, one.status, one.reason, one.message, generation, now)
        elif one.type in before:
            usual: Truth = "False" if one.status == "True" else "True"
            yield _condition(before[one.type], one.type, usual, "No", "", generation, now)


def _condition(
    before: Condition | None, name: str, status: Truth, reason: str, message: str, generation: int, now: datetime
) -> Condition:
    flipped = before is None or before.status != status
    moved = now if before is None or flipped else before.last_transition_time
    if (
        before
        and not flipped
        and (before.reason, before.message, before.observed_generation) == (reason, message, generation)
    ):
        return before
    return Condition(
        type=name, status=status, reason=reason, message=message, last_transition_time=moved, observed_generation=generation
    )
