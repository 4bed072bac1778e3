"""What goes wrong, and what the client is told: one table, error -> status code, as ``application/problem+json`` (RFC 9457).

A 4xx says what to do about it. A 5xx says only that it happened and under which request id the log has the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api.errors import (
    Exists,
    Forbidden,
    Guarded,
    Malformed,
    Managed,
    OtherVersion,
    Refused,
    SlowBody,
    TooLarge,
    TooMany,
    TooManyFeeds,
    TooSlow,
    Unauthorised,
    Unavailable,
    Unsupported,
)
from controller.core.secrets import masked
from controller.ports.accounts import TooManyKeys
from controller.ports.notices import Full
from controller.ports.permission import TooMany as TooManyBindings
from controller.ports.requests import InProgress, KeyReused
from controller.ports.store import Conflict, Gone, NotFound, StoreError
from controller.ports.uploads import (
    Busy,
    ChecksumMismatch,
    FolderUnusable,
    NoRoom,
    OverQuota,
    TooLong,
    TooManyUploads,
    WrongOffset,
)
from manifests.load import Invalid

MEDIA_TYPE = "application/problem+json"
TUS = "1.0.0"
"""The version of the upload protocol."""
_RETRY = "5"  # seconds: how long a database takes to come back, and how often everybody asks meanwhile


@dataclass(frozen=True, slots=True)
class Row:
    """A status code, the error code that programs compare, the title that people read."""

    status: int
    code: str
    title: str


INTERNAL = Row(500, "internal", "The server failed")

TABLE: Mapping[type[Exception], Row] = {
    Malformed: Row(400, "malformed", "The request cannot be read"),
    Unauthorised: Row(401, "unauthorised", "Not signed in"),
    Forbidden: Row(403, "forbidden", "Not allowed"),
    NotFound: Row(404, "not_found", "There is no such object"),
    SlowBody: Row(408, "slow_body", "The body did not come in time"),
    Exists: Row(409, "exists", "The object exists already"),
    Managed: Row(409, "managed", "The object is managed by a source"),
    Guarded: Row(409, "guarded", "A guard refused"),
    Refused: Row(409, "refused", "Some were refused"),
    InProgress: Row(409, "in_progress", "The first request with this key is under way"),
    TooManyBindings: Row(409, "too_many", "There are too many"),
    TooManyKeys: Row(409, "too_many", "There are too many"),
    Gone: Row(410, "gone", "The change log does not reach back that far"),
    Full: Row(409, "full", "There is no room for more"),
    TooManyUploads: Row(409, "too_many_uploads", "There are too many unfinished uploads"),
    WrongOffset: Row(409, "wrong_offset", "The upload does not stand there"),
    Conflict: Row(412, "conflict", "The object has changed since it was read"),
    OtherVersion: Row(412, "tus_version", "Another version of tus is spoken here"),
    OverQuota: Row(413, "over_quota", "The quota is used up"),
    TooLong: Row(413, "too_long", "The upload was announced to be shorter"),
    TooLarge: Row(413, "too_large", "The body is too large"),
    Unsupported: Row(415, "unsupported_media_type", "The body is of a kind that is not taken"),
    Invalid: Row(422, "invalid", "The manifests are not valid"),
    RequestValidationError: Row(422, "invalid", "The request is not valid"),
    KeyReused: Row(422, "idempotency_mismatch", "The key belongs to another request"),
    Busy: Row(423, "locked", "Another request is writing it"),
    TooMany: Row(429, "too_many_requests", "Too many requests"),
    TooManyFeeds: Row(429, "too_many_feeds", "Too many live feeds are open"),
    ChecksumMismatch: Row(460, "checksum_mismatch", "The piece is not what its checksum says"),
    Unavailable: Row(503, "unavailable", "Not ready"),
    StoreError: Row(503, "unavailable", "The store does not answer"),
    FolderUnusable: Row(503, "folder_unusable", "The upload folder cannot be used"),
    TooSlow: Row(504, "too_slow", "The answer took too long"),
    NoRoom: Row(507, "no_room", "The disk has no room for it"),
}

KNOWN = tuple(TABLE)

_BY_STATUS = {
    400: Row(400, "malformed", "The request cannot be read"),
    404: Row(404, "not_found", "There is nothing at this address"),
    405: Row(405, "method_not_allowed", "This address does not take this method"),
}


def document(
    row: Row, detail: str, now: datetime, request_id: str, errors: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """The members of RFC 9457 and ours; ``errors`` have ``field`` and ``message``, of manifests ``line`` too."""
    return {
        "type": f"urn:ggnet:error:{row.code}",
        "title": row.title,
        "status": row.status,
        "detail": masked(detail),
        "error_code": row.code,
        "status_code": row.status,
        "timestamp": now.isoformat(),
        "request_id": request_id,
        "errors": [{**error, "message": masked(str(error["message"]))} for error in errors],
    }


def response(
    request: Request,
    row: Row,
    detail: str,
    errors: Iterable[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    now = request.app.state.door.clock.now()
    content = document(row, detail, now, request.scope.get("request_id", ""), errors)
    return JSONResponse(content, status_code=row.status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def row(error: Exception) -> Row | None:
    """None for what nobody foresaw."""
    return next((row for kind, row in TABLE.items() if isinstance(error, kind)), None)


def answer(request: Request, error: Exception) -> JSONResponse:
    """What the edge itself refuses, and what no route has caught."""
    found = row(error)
    if found is None or isinstance(error, StoreError):
        detail = "The log of the server has more under this request id."
        return response(request, found or INTERNAL, detail)
    detail = str(error) or str(type(error).__doc__)
    return response(request, found, detail, _errors(error, detail), headers=_headers(found, error))


def _errors(error: Exception, detail: str) -> Sequence[Mapping[str, Any]]:
    match error:
        case Refused():
            return error.errors
        case KeyReused() | InProgress():
            return [{"field": "Idempotency-Key", "message": detail}]
        case Forbidden() | Malformed(field=str()):
            return [{"field": error.field, "message": detail}] if error.field else []
    return []


def _headers(row: Row, error: Exception) -> Mapping[str, str]:
    """What HTTP asks for beside the status."""
    if isinstance(error, Unauthorised):
        wait = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return {"WWW-Authenticate": "Bearer", **wait}
    if isinstance(error, TooMany):
        quota = error.quota
        limits = {"RateLimit-Limit": str(quota.limit), "RateLimit-Remaining": "0", "RateLimit-Reset": str(error.seconds)}
        return {"Retry-After": str(error.seconds), **limits}
    if row.status == 503 or isinstance(error, TooManyFeeds):
        return {"Retry-After": _RETRY}
    if isinstance(error, InProgress | Busy):
        return {"Retry-After": "1"}
    if isinstance(error, OtherVersion):
        return {"Tus-Version": TUS}
    if row.status == 415:
        return {"Accept-Encoding": "identity"}
    return {}


async def _known(request: Request, error: Exception) -> JSONResponse:
    return answer(request, error)


async def told(request: Request, error: Exception) -> JSONResponse:
    """What the client is told of one of ``KNOWN``."""
    if isinstance(error, Invalid):
        return await _invalid(request, error)
    if isinstance(error, RequestValidationError):
        return await _parameters(request, error)
    return await (_store if isinstance(error, StoreError) else _known)(request, error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Invalid)
    problems = [problem.wire() for problem in error.problems]
    first = str(error.problems[0])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return response(request, TABLE[Invalid], f"{first}{more}", problems)


async def _parameters(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError | WebSocketRequestValidationError)
    errors = [{"field": place(e["loc"][1:] or e["loc"]), "message": words(e["msg"])} for e in error.errors()]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
    return response(request, TABLE[RequestValidationError], detail, errors)


def words(message: str) -> str:
    """What a check of ours said, without what pydantic opens it with."""
    return message.removeprefix("Value error, ")


def place(location: Sequence[str | int]) -> str:
    """A field as it is written in a message: ``spec.macs.0``."""
    return ".".join(str(part) for part in location)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    row = _BY_STATUS.get(error.status_code) or Row(error.status_code, "http_error", str(error.detail))
    headers = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else error.headers
    return response(request, row, f"{request.method} {ascii(request.url.path)[1:-1][:200]}: {row.title}", headers=headers)


def _methods(request: Request) -> list[str]:
    """All that the address takes: the framework names those of the first route alone."""
    found = {method for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") if _takes(request, method)}
    return sorted(found | {"HEAD"} if "GET" in found else found)


def _takes(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


async def _store(request: Request, error: Exception) -> JSONResponse:
    """What a database says may hold its address: it belongs into the log."""
    structlog.get_logger(part="api").error("store failed", error=str(error))
    detail = "The store does not answer now. The log of the server says why."
    return response(request, TABLE[StoreError], detail, headers={"Retry-After": _RETRY})


def install(app: FastAPI) -> None:
    for kind in TABLE:
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(StoreError, _store)
    app.add_exception_handler(Invalid, _invalid)
    for unfit in (RequestValidationError, WebSocketRequestValidationError):
        app.add_exception_handler(unfit, _parameters)
    app.add_exception_handler(HTTPException, _http)
