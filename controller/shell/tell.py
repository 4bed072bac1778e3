"""What a pass has to tell: events for what was put right, what failed and what changed phase."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal

from controller.core.steps import Blocked, Done, Step
from controller.core.wire import words
from controller.ports.store import Event
from controller.shell.execute import Result
from manifests.kinds import Object
from manifests.meta import Status

DRIFT = "drift"


def events(
    results: Iterable[Result], before: Mapping[str, Object], after: Mapping[str, Status], now: datetime
) -> list[Event]:
    """One event a fact: drift that was found, a step that did not end well, an object that changed phase."""
    return [*_of_steps(results, now), *_of_phases(before, after, now)]


def _of_steps(results: Iterable[Result], now: datetime) -> Iterator[Event]:
    for result in results:
        owner = _speaker(result.step)
        if result.step.cause == DRIFT:
            yield Event(owner, "Warning", "Drifted", _drift(result), now, now)
        if not isinstance(result.outcome, Done | Blocked):
            yield Event(
                owner, "Warning", result.outcome.reason, f"{words(result.step.action)}: {result.outcome.message}", now, now
            )


def _speaker(step: Step) -> str:
    """The object that an event of this step is told of: the machine where there is one."""
    return next(
        (owner for owner in sorted(step.owners) if owner.startswith("Machine/")), min(step.owners, default="Server/this")
    )


def _drift(result: Result) -> str:
    found = "; ".join(
        f"{change.field}: expected {change.after or 'nothing'}, found {change.before or 'nothing'}"
        for change in result.step.changes[:8]
    )
    more = f" (and {len(result.step.changes) - 8} more)" if len(result.step.changes) > 8 else ""
    ending = "put right" if isinstance(result.outcome, Done) else "not put right yet"
    return f"{words(result.step.action)}: {found}{more}; {ending}"


def _of_phases(before: Mapping[str, Object], after: Mapping[str, Status], now: datetime) -> Iterator[Event]:
    for key, status in after.items():
        old = before[key].status.phase if key in before and before[key].status is not None else None  # type: ignore[union-attr]
        if old != status.phase:
            ready = status.condition("Ready")
            said = f": {ready.message}" if ready is not None and ready.message else ""
            kind: Literal["Normal", "Warning"] = "Warning" if status.phase in ("Failed", "Unknown") else "Normal"
            yield Event(key, kind, status.phase, f"{old or 'new'} -> {status.phase}{said}", now, now)
