"""What a pass has to tell: events for what was put right, what failed and what changed phase."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal

from controller.core import pressure
from controller.core.observed import Observed
from controller.core.steps import Blocked, DeleteVersion, Done, Step, Underway
from controller.core.wire import words
from controller.ports.store import Event
from controller.shell.execute import Result
from manifests.kinds import Object
from manifests.meta import Status

DRIFT = "drift"


def events(
    results: Iterable[Result], before: Mapping[str, Object], after: Mapping[str, Status], now: datetime
) -> list[Event]:
    """One event a fact: drift that was found, a step that did not end well, versions that were collected, an object that
    changed phase, a disk that fills up."""
    done = tuple(results)
    return [
        *_of_steps(done, now),
        *_of_collections(done, now),
        *_of_phases(before, after, now),
        *_of_disks(before, after, now),
    ]


def pool_events(before: Observed | None, after: Observed, now: datetime) -> list[Event]:
    """The pool fills up: told when it begins, and by each controller that starts while it lasts."""
    said = pressure.pool(after)
    if said is None or (before is not None and pressure.pool(before) is not None):
        return []
    return [Event("Server/this", "Warning", "PoolNearlyFull", said, now, now)]


def _of_steps(results: Iterable[Result], now: datetime) -> Iterator[Event]:
    for result in results:
        owner = _speaker(result.step)
        if result.step.cause == DRIFT:
            yield Event(owner, "Warning", "Drifted", _drift(result), now, now)
        if not isinstance(result.outcome, Done | Blocked | Underway):
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


def _of_collections(results: Iterable[Result], now: datetime) -> Iterator[Event]:
    """One event an image: of several at once the last alone would be left."""
    gone: dict[str, list[str]] = defaultdict(list)
    for result in results:
        if isinstance(result.step.action, DeleteVersion) and isinstance(result.outcome, Done):
            was = "; ".join(f"{change.field} ({change.before})" for change in result.step.changes)
            gone[f"Image/{result.step.action.image}"].append(f"{was}: {result.outcome.note}")
    for key, told in gone.items():
        yield Event(key, "Normal", "VersionCollected", f"collected {'; '.join(told)}", now, now)


def _of_phases(before: Mapping[str, Object], after: Mapping[str, Status], now: datetime) -> Iterator[Event]:
    for key, status in after.items():
        old = before[key].status.phase if key in before and before[key].status is not None else None  # type: ignore[union-attr]
        if old != status.phase:
            ready = status.condition("Ready")
            said = f": {ready.message}" if ready is not None and ready.message else ""
            kind: Literal["Normal", "Warning"] = "Warning" if status.phase in ("Failed", "Unknown") else "Normal"
            yield Event(key, kind, status.phase, f"{old or 'new'} -> {status.phase}{said}", now, now)


def _of_disks(before: Mapping[str, Object], after: Mapping[str, Status], now: datetime) -> Iterator[Event]:
    for key, status in after.items():
        old = before[key].status.condition(pressure.DISK) if key in before and before[key].status is not None else None  # type: ignore[union-attr]
        new = status.condition(pressure.DISK)
        if new is not None and new.status == "True" and (old is None or (old.status, old.reason) != ("True", new.reason)):
            yield Event(key, "Warning", f"Disk{new.reason}", new.message, now, now)
