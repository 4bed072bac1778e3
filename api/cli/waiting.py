"""Waiting for an object: the generation that was seen first is the one that must get there, or a later one."""

import difflib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from api.cli.client import Client
from api.cli.failure import NOT_FOUND, TIMED_OUT, USAGE, Failure
from api.cli.kinds import Ref
from api.cli.output import clean, progress

_POLL = 0.25


@dataclass(frozen=True, slots=True)
class Goal:
    """``what`` is condition, phase or delete; ``name`` and ``value`` say which."""

    what: str
    name: str = ""
    value: str = ""

    def __str__(self) -> str:
        if self.what == "condition":
            return f"condition={self.name}" + (f"={self.value}" if self.value != "True" else "")
        return f"phase={self.value}" if self.what == "phase" else "delete"


def parse(text: str) -> Goal:
    """Failure, wrong usage."""
    what, _, rest = text.partition("=")
    name, _, value = rest.partition("=")
    if what == "delete" and not rest:
        return Goal("delete")
    if what == "condition" and name and value.lower() in ("", "true", "false", "unknown"):
        return Goal("condition", name, value.capitalize() or "True")
    if what == "phase" and rest:
        return Goal("phase", value=_phase(rest))
    remedy = "use condition=Ready, condition=Ready=False, phase=Active or delete"
    raise Failure(f"--for {ascii(text)[:60]} is nothing to wait for", USAGE, remedy=remedy)


def _phase(text: str) -> str:
    """As it is written in a status. Failure, wrong usage: a name that nothing ever has would be waited for in vain."""
    from controller.core.phases import Phase  # with what it imports, a tenth of a second: only who waits needs it

    phases: dict[str, str] = {one.lower(): one for one in get_args(Phase)}
    if text.lower() in phases:
        return phases[text.lower()]
    close = difflib.get_close_matches(text.lower()[:64], phases, n=1)
    meant = f"did you mean {phases[close[0]]}? " if close else ""
    remedy = f"{meant}There are {', '.join(sorted(phases.values()))}"
    raise Failure(f"--for phase={ascii(text)[1:-1][:60]}: nothing has this phase", USAGE, remedy=remedy)


def until(client: Client, ref: Ref, goal: Goal, deadline: float) -> Mapping[str, Any] | None:
    """The object at its goal; None once it is gone. ``deadline`` on the monotonic clock. Failure: timed out, not found."""
    first = _read(client, ref)
    if first is None:
        if goal.what == "delete":
            return None
        raise Failure(f"there is no {ref.key}", NOT_FOUND, remedy=f"see ggnet get {ref.plural}")
    item: Mapping[str, Any] | None = first
    with progress() as tell:
        while not _reached(item, first, goal):
            tell(f"{ref.key}: {_doing(item)}")
            left = deadline - time.monotonic()
            if left <= 0:
                remedy = f"see ggnet why {ref.key}"
                raise Failure(f"{ref.key} did not reach {goal} in time: {_state(item)}", TIMED_OUT, remedy=remedy)
            time.sleep(min(_POLL, left))
            item = _read(client, ref)
            if item is None and goal.what != "delete":
                raise Failure(f"{ref.key} was deleted while it was waited for", NOT_FOUND)
    return item


def _read(client: Client, ref: Ref) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = client.get(ref.path)
    except Failure as failure:
        if failure.code == NOT_FOUND:
            return None
        raise
    return found


def _reached(item: Mapping[str, Any] | None, first: Mapping[str, Any], goal: Goal) -> bool:
    if goal.what == "delete":
        return item is None or item["metadata"].get("uid") != first["metadata"].get("uid")
    if item is None:
        return False
    status, pinned = item.get("status", {}), first["metadata"].get("generation", 0)
    if status.get("observedGeneration", 0) < pinned:
        return False
    if goal.what == "phase":
        return bool(status.get("phase", "").lower() == goal.value.lower())
    return any(
        one["type"].lower() == goal.name.lower() and one["status"] == goal.value and one["observedGeneration"] >= pinned
        for one in status.get("conditions", [])
    )


def _doing(item: Mapping[str, Any] | None) -> str:
    """The step that is under way, with how far it is where that is known."""
    conditions = item.get("status", {}).get("conditions", []) if item is not None else []
    going = next((one for one in conditions if one["type"] == "Progressing" and one["status"] == "True"), None)
    return str(going["message"]) if going else _state(item)


def _state(item: Mapping[str, Any] | None) -> str:
    if item is None:
        return "it is gone"
    status = item.get("status", {})
    ready = next((one for one in status.get("conditions", []) if one["type"] == "Ready"), None)
    if item["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        return "the controller has not looked at it yet"
    phase = clean(status.get("phase", "Pending"))
    return f"{phase}, {clean(ready['reason'])}: {clean(ready['message'])}" if ready else phase
