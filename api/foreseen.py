"""How objects would stand after a write: what a dry run answers, and what a plan is made from."""

from collections.abc import Mapping
from datetime import datetime

from manifests.kinds import Object
from manifests.meta import DISRUPTION


def as_stored(item: Object, before: Object | None) -> Object:
    """The manifest as the store would hold it: what the server adds is kept, a changed spec is a new generation.

    One that is restored brings its uid and its generation along.
    """
    if before is None:
        generation = (item.metadata.generation or 0) + 1
        fresh = {"uid": item.metadata.uid or "new", "generation": generation, "resource_version": None}
        return item.model_copy(update={"metadata": item.metadata.model_copy(update=fresh)})
    withdrawn = before.metadata.deleted_at is not None
    server = {
        "uid": before.metadata.uid,
        "generation": (before.metadata.generation or 0) + (withdrawn or before.spec != item.spec),
        "resource_version": before.metadata.resource_version,
        "created_at": before.metadata.created_at,
        "managed_by": before.metadata.managed_by,
    }
    return item.model_copy(update={"metadata": item.metadata.model_copy(update=server), "status": before.status})


def annotated(item: Object, annotations: Mapping[str, str | None]) -> Object:
    both = {**item.metadata.annotations, **annotations}
    left = {name: value for name, value in both.items() if value is not None}
    return item.model_copy(update={"metadata": item.metadata.model_copy(update={"annotations": left})})


def wanted(item: Object) -> Object:
    """As somebody who wants it (again) would write it: not marked deleted, and without the leave to cut a running PC,
    which was given for once."""
    left = annotated(item, {DISRUPTION: None})
    return left.model_copy(update={"metadata": left.metadata.model_copy(update={"deleted_at": None})})


def deleted(item: Object, now: datetime, *, force: bool) -> Object:
    if force:
        item = annotated(item, {DISRUPTION: "allowed"})
    if item.metadata.deleted_at is not None:
        return item
    return item.model_copy(update={"metadata": item.metadata.model_copy(update={"deleted_at": now})})
