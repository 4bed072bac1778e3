"""The audit log, for administrators: read it in pages, verify its chain."""

import base64
import binascii
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from api import moments
from api.answers import refusals
from api.deps import DoorOf, administrator
from api.errors import Malformed
from controller.core.chain import Mark
from controller.ports.audit import Asked, Audited, Verified
from manifests.meta import Strict

router = APIRouter(tags=["audit"], dependencies=[Depends(administrator)])

_ROW: dict[str, Any] = {
    "number": 1042,
    "at": "2026-01-05T12:00:00.123456+00:00",
    "who": "api:ada",
    "address": "10.77.0.20",
    "requestId": "5f2b",
    "action": "update",
    "outcome": "ok",
    "object": "Machine/pc07",
    "count": 1,
    "before": {"spec": {"enabled": True}},
    "after": {"spec": {"enabled": False}},
    "hash": "9f" * 32,
}


class Row(Strict):
    """One thing that was done or tried. ``before`` and ``after`` hold what differs, secrets as ``***``."""

    model_config = ConfigDict(alias_generator=to_camel, json_schema_extra={"example": _ROW})

    number: Annotated[int, Field(description="without gaps")]
    at: str
    who: Annotated[str, Field(description="api:USER, git:SOURCE, controller; erased:DIGEST once the name was erased")]
    address: str
    request_id: Annotated[str, Field(description="of a commit: its hash")]
    action: str
    outcome: str
    object: str | None = None
    count: Annotated[int, Field(description="above 1: so many of the same, told in one row")]
    before: Any = None
    after: Any = None
    hash: Annotated[str, Field(description="over this row and the hash of the one before it")]


class PageEnd(Strict):
    """``continue`` is absent on the last page."""

    continue_: Annotated[str | None, Field(alias="continue")] = None


class Page(Strict):
    """The newest first."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_ROW], "metadata": {"continue": "MTA0Mg=="}}})

    items: list[Row]
    metadata: PageEnd


class Found(Strict):
    """What is wrong with the rows ``first`` to ``last``."""

    kind: Literal["altered", "removed", "inserted", "moved", "replaced", "head", "noted", "name", "checkpoint"]
    first: int
    last: int
    message: str


class Verdict(Strict):
    """``head`` is worth noting elsewhere: with it also a log that was written anew is found."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "whole": True,
                "rows": 1042,
                "head": f"1042:{'9f' * 32}",
                "checkpoint": f"0:{'0' * 64}",
                "findings": [],
            }
        }
    )

    whole: bool
    rows: int
    head: str
    checkpoint: Annotated[str, Field(description="the last row that was pruned; the chain begins behind it")]
    findings: list[Found]


@router.get(
    "/audit",
    summary="Who did what, from where, before and after; newest first",
    response_model=Page,
    responses=refusals(400, 403),
)
async def audit(
    door: DoorOf,
    who: Annotated[str | None, Query(max_length=200, description="ada, api:ada, git:main, controller")] = None,
    about: Annotated[str | None, Query(alias="object", max_length=400, description="like Machine/pc07 or User/ada")] = None,
    action: Annotated[str | None, Query(max_length=64)] = None,
    since: Annotated[str | None, Query(max_length=40, description="2026-01-05, 2026-01-05T12:00:00Z or 2h")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(alias="continue", max_length=64, description="metadata.continue of the page before")] = "",
) -> dict[str, Any]:
    try:
        start = moments.parse(since, door.clock.now()) if since is not None else None
    except ValueError as error:
        raise Malformed(f"since: {error}.") from None
    asked = Asked(who, about, action, start, _below(after), limit + 1)
    rows = await door.store.audit(asked)
    shown = rows[:limit]
    metadata = {"continue": base64.urlsafe_b64encode(str(shown[-1].seq).encode()).decode()} if len(rows) > limit else {}
    return {"items": [row_wire(row) for row in shown], "metadata": metadata}


@router.get(
    "/audit/verify",
    summary="Whether a row was altered, removed, inserted or moved",
    response_model=Verdict,
    responses=refusals(403),
)
async def verify(
    door: DoorOf,
    head: Annotated[
        str | None, Query(pattern=r"^([0-9]{1,18}:)?[0-9a-f]{64}$", description="noted earlier; must still be there")
    ] = None,
) -> dict[str, Any]:
    """Reads every row: some seconds for each million."""
    number, _, digest = (head or "").rpartition(":")
    return verified_wire(await door.store.verify_audit(Mark(int(number or 0), digest) if head else None))


def row_wire(row: Audited) -> dict[str, Any]:
    return {
        "number": row.seq,
        "at": row.at.isoformat(timespec="microseconds"),
        "who": row.who,
        "address": row.address,
        "requestId": row.request_id,
        "action": row.action,
        "outcome": row.outcome,
        "object": row.object,
        "count": row.count,
        "before": row.before,
        "after": row.after,
        "hash": row.hash,
    }


def verified_wire(verified: Verified) -> dict[str, Any]:
    findings = [
        {"kind": one.kind, "first": one.first, "last": one.last, "message": one.message} for one in verified.findings
    ]
    return {
        "whole": not findings,
        "rows": verified.rows,
        "head": str(verified.head),
        "checkpoint": str(verified.checkpoint),
        "findings": findings,
    }


def _below(token: str) -> int | None:
    """Malformed."""
    if not token:
        return None
    try:
        text = base64.urlsafe_b64decode(token.encode()).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    if not text.isdigit() or len(text) > 18:
        raise Malformed("continue takes the metadata.continue of the page before, unchanged.")
    return int(text)
