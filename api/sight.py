"""The host as the controller last saw it, read from the store: what a plan in a door is computed from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.deps import Door
from api.errors import Unavailable
from controller.core import snapshot
from controller.core.observed import Observed
from controller.core.plan import plan
from controller.core.resolve import resolve
from controller.core.steps import Plan
from manifests.kinds import Object


@dataclass(frozen=True, slots=True)
class Sight:
    """``at`` is when the last full sweep ended, None where the controller has not said."""

    observed: Observed
    at: datetime | None


def swept(observations: Mapping[str, str]) -> tuple[datetime | None, int]:
    """When the last full sweep ended, and in which epoch of the controller's lease; None and 0 before the first one."""
    row = observations.get(snapshot.SWEEP)
    if row is None:
        return None, 0
    beat = json.loads(row)
    return datetime.fromisoformat(beat["at"]), beat.get("epoch", 0)


async def look(door: Door) -> Sight:
    """Unavailable before the controller's first full sweep."""
    observations = await door.store.observations()
    if not observations:
        raise Unavailable("The controller has not looked at its host yet: is it running? See /readyz.")
    rows = {key: row for key, row in observations.items() if key != snapshot.SWEEP}
    return Sight(snapshot.loads(rows), swept(observations)[0])


def decide(door: Door, objects: Mapping[str, Object], sight: Sight) -> Plan:
    """What would be done if these were all the objects."""
    desired = resolve(objects.values(), door.settings.names, door.clock.now())
    return plan(desired, sight.observed, door.settings.names)


def seen_wire(sight: Sight, now: datetime) -> dict[str, Any]:
    """How old the observations are, for whoever reads a plan."""
    if sight.at is None:
        return {}
    return {"observedAt": sight.at.isoformat(), "observedSecondsAgo": max(0, round((now - sight.at).total_seconds()))}
