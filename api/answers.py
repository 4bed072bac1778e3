"""What the OpenAPI document says of refusals: one shape for all of them, with what each status means."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from api import problems


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


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For ``responses``: these, and those that every route can give (401, 422, 503)."""
    return {status: _refusal(status) for status in sorted({*statuses, 401, 422, 503})}


def _refusal(status: int) -> dict[str, Any]:
    row = next(row for row in problems.TABLE.values() if row.status == status)
    content: Mapping[str, Any] = {
        problems.MEDIA_TYPE: {
            "schema": {"$ref": "#/components/schemas/ProblemDocument"},
            "example": {
                "type": f"urn:ggnet:error:{row.code}",
                "title": row.title,
                "status": row.status,
                "detail": f"{row.title}: what to do about it.",
                "error_code": row.code,
                "status_code": row.status,
                "timestamp": "2026-01-05T12:00:00+00:00",
                "request_id": "4f2a91c0",
                "errors": [],
            },
        }
    }
    return {"model": ProblemDocument, "description": row.title, "content": content}
