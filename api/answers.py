"""What the OpenAPI document says of answers: what they look like, and of refusals what each status means.

A refusal is told once, among the components, and routes refer to it: told at each of them they were two thirds of the
document, and half of the time that the framework takes to build the routes and it.
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from api import examples, problems
from manifests.kinds import KINDS


class FieldProblem(BaseModel):
    """What is wrong, and where."""

    model_config = ConfigDict(extra="allow")

    field: str
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457, with what programs compare: ``error_code``."""

    type: str
    title: str
    status: int
    detail: str
    error_code: str
    status_code: int
    timestamp: datetime
    request_id: str
    errors: list[FieldProblem]


_WHEN = datetime(2026, 1, 5, 12, tzinfo=UTC)
_WRONG = {"field": "spec.macs.0", "message": "'52:54' is not a MAC address: write it like 52:54:00:00:00:07"}
_ROWS = {
    status: {row.code: row for row in problems.TABLE.values() if row.status == status}
    for status in sorted({row.status for row in problems.TABLE.values()})
}
_TITLES = {status: "; ".join(row.title for row in rows.values()) for status, rows in _ROWS.items()}


def gives(kind: str, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """For ``responses``: one object of this kind."""
    return {status: {"model": KINDS[kind], "content": {"application/json": examples.answer(kind)}}}


def like(example: Any, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """For ``responses``: what an answer looks like whose model does not show it."""
    return {status: {"content": {"application/json": {"example": example}}}}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For ``responses``: these, and those that every route can give (401, 422, 503)."""
    named = sorted({*statuses, 401, 422, 503})
    return {one: {"$ref": f"#/components/responses/Problem{one}", "description": _TITLES[one]} for one in named}


def refusal(status: int) -> dict[str, Any]:
    """One answer of ``responses``, written out."""
    content = {
        "schema": {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"},
        "examples": {code: {"value": _problem(row)} for code, row in _ROWS[status].items()},
    }
    return {"description": _TITLES[status], "content": {problems.MEDIA_TYPE: content}}


def components() -> dict[str, dict[str, Any]]:
    """Of the document: what ``refusals`` refers to."""
    schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = {**schema.pop("$defs"), ProblemDocument.__name__: schema}
    return {"schemas": schemas, "responses": {f"Problem{status}": refusal(status) for status in _ROWS}}


def _problem(row: problems.Row) -> dict[str, Any]:
    errors = [_WRONG] if row.code == "invalid" else []
    return problems.document(row, f"{row.title}: what to do about it.", _WHEN, "4f2a91c0", errors)
