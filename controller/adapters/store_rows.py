"""One object as a row and as a manifest, and what a put changes of it. No decision here needs the database."""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio.lowlevel
from pydantic import ValidationError
from sqlalchemy import RowMapping, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.statements import among, batches
from controller.adapters.tables import objects, statuses
from controller.ports.store import Conflict, StoreError
from manifests.kinds import KINDS, Object
from manifests.meta import PAUSED

Row = RowMapping | Mapping[str, Any]

_VERSION = statuses.c.resource_version.label("status_version")
ROWS = select(objects, statuses.c.status, _VERSION).join_from(objects, statuses, isouter=True)
_SPECS = select(objects, _VERSION).join_from(objects, statuses, isouter=True).where(among(objects.c.key))
_WRITTEN = (
    "generation",
    "resource_version",
    "managed_by",
    "deleted_at",
    "labels",
    "annotations",
    "overrides",
    "spec",
    "overridden_by",
    "deleted_by",
)
UPDATE = update(objects).where(objects.c.key == bindparam("row")).values({name: bindparam(name) for name in _WRITTEN})


@dataclass(frozen=True, slots=True)
class Declared:
    """What a manifest says of one object, in plain values."""

    kind: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Mapping[str, Any]


async def declared(manifests: Sequence[Object]) -> dict[str, Declared]:
    """By key, sorted. Conflict when one is given twice."""
    found: dict[str, Declared] = {}
    for batch in batches(manifests):
        for one in batch:
            meta = one.metadata
            if one.key in found:
                raise Conflict(f"{one.key} is given twice")
            found[one.key] = Declared(one.kind, str(one.name), dict(meta.labels), dict(meta.annotations), one.spec.wire())
        await anyio.lowlevel.checkpoint()
    return dict(sorted(found.items()))


async def stored(conn: AsyncConnection, keys: Collection[str]) -> dict[str, Row]:
    """Those of the keys that there are, without their status."""
    found: dict[str, Row] = {}
    for batch in batches(sorted(keys)):
        rows = await conn.execute(_SPECS, {"keys": batch})
        found |= {row["key"]: row for row in rows.mappings()}
    return found


def in_force(row: Row) -> dict[str, str]:
    """The declared annotations with those that were set by hand over them."""
    both = {**row["annotations"], **row["overrides"]}
    return {name: value for name, value in both.items() if value is not None}


def shown_version(row: Row) -> int:
    return int(max(row["resource_version"], row["status_version"] or 0))


def manifest(row: Row) -> Object:
    metadata = {
        "name": row["name"],
        "labels": row["labels"],
        "annotations": in_force(row),
        "uid": row["uid"],
        "generation": row["generation"],
        "resource_version": shown_version(row),
        "created_at": row["created_at"],
        "managed_by": row["managed_by"],
        "overridden_by": row["overridden_by"],
        "deleted_at": row["deleted_at"],
    }
    try:
        return KINDS[row["kind"]].model_validate({"metadata": metadata, "spec": row["spec"], "status": row["status"]})
    except (ValidationError, KeyError) as error:
        raise StoreError(
            f"{row['key']} as it is stored cannot be read by this version: restore the database from a backup, "
            f"or go back to the version that wrote it"
        ) from error


def demand(expect: Mapping[str, int], rows: Mapping[str, Row]) -> None:
    """Conflict unless every object still stands at the resourceVersion that was read (0: there is none)."""
    for key, version in expect.items():
        row = rows.get(key)
        if row is None and version:
            raise Conflict(f"{key} is gone since resourceVersion {version} was read")
        if row is not None and not version:
            raise Conflict(f"{key} exists already")
        if row is not None and not row["resource_version"] <= version <= shown_version(row):
            raise Conflict(f"{key} has changed: it is at resourceVersion {shown_version(row)}, not {version}; read it again")


def created(
    wanted: Mapping[str, Declared], manager: str, now: datetime, revived: Mapping[str, Row]
) -> Iterator[dict[str, Any]]:
    """``revived`` are the tombstones of those that were there before: what is outside under their uid is theirs again.

    One that was taken from its source by force is its source's again.
    """
    for key, one in wanted.items():
        before = revived.get(key)
        overridden = before is not None and before["overridden_by"] is not None
        yield {
            "key": key,
            "kind": one.kind,
            "name": one.name,
            "uid": before["uid"] if before else str(uuid.uuid4()),
            "generation": before["generation"] + 1 if before else 1,
            "created_at": before["created_at"] if before else now,
            "managed_by": before["managed_by"] if before and overridden else manager,
            "deleted_at": None,
            "labels": one.labels,
            "annotations": one.annotations,
            "overrides": {},
            "spec": one.spec,
            "overridden_by": manager if overridden else None,
            "deleted_by": None,
        }


def kept(row: Row) -> dict[str, Any]:
    """The row's values as they are, for ``UPDATE``."""
    return {"row": row["key"], **{name: row[name] for name in _WRITTEN}}


def replaced(row: Row, wanted: Declared, manager: str, force: bool) -> dict[str, Any] | None:
    """The row's new values for ``UPDATE``; None when it says all this already. Conflict.

    Marked deleted, it is wanted again under the same uid (what is outside under its names is taken up where the
    withdrawal left it) and a new generation (what was observed of it before counts no more).
    """
    withdrawn, owner, by_source = row["deleted_at"] is not None, row["managed_by"], manager.startswith("git:")
    if owner.startswith("git:") and manager.startswith("api:") and not (force or withdrawn):
        raise Conflict(f"{row['key']} is managed by {owner}: change it there, or force it")
    if by_source and manager == owner and row["overridden_by"] and suspended(row):
        return None
    overridden = owner.startswith("git:") and not by_source and (not withdrawn or row["overridden_by"] is not None)
    if overridden:
        by_source = True  # overridden by hand, it stays its source's, which wins it back at its next reading
    moved = withdrawn or row["spec"] != wanted.spec
    after = {
        **kept(row),
        "generation": row["generation"] + moved,
        "managed_by": owner if overridden else manager,
        "deleted_at": None,
        "labels": wanted.labels,
        "annotations": wanted.annotations,
        "overrides": row["overrides"] if by_source and not withdrawn else {},
        "spec": wanted.spec,
        "deleted_by": None,
    }
    if overridden and after == kept(row):
        return None
    after["overridden_by"] = manager if overridden else None
    return None if after == kept(row) else after


def suspended(row: Row) -> bool:
    return in_force(row).get(PAUSED) == "true"
