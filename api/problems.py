"""What goes wrong, and what the client is told: one table, error -> status code, as ``application/problem+json`` (RFC 9457).

A 4xx says what to do about it. A 5xx says only that it happened and under which request id the log has the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from controller.ports.notices import Full
from controller.ports.permission import TooMany
from controller.ports.requests import InProgress, KeyReused
from controller.ports.store import Conflict, Gone, NotFound, StoreError
from manifests.load import Invalid

MEDIA_TYPE = "application/problem+json"


class Malformed(Exception):
    """The request cannot be read as what it says it is."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class Unauthorised(Exception):
    """The bearer token is missing or wrong. ``retry_after``: seconds, where asking again sooner is in vain."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Forbidden(Exception):
    """Whoever asks is known, and may not do this; ``field`` is what stands in the way, of the object or of the asker."""

    def __init__(self, message: str, field: str = "permission") -> None:
        super().__init__(message)
        self.field = field


class Exists(Exception):
    """There is an object of this name already: PUT replaces it."""


class Managed(Exception):
    """The object comes from a git source: change it there, or force the write."""


class Guarded(Exception):
    """Somebody would lose a running PC: ask for that by name."""


class Refused(Exception):
    """Of many, some cannot be done, so none was: leave them out, or ask for what can be done (partial=true)."""

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        first = f"{errors[0]['object']}: {errors[0]['message']}"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{first}{more}; nothing was done: leave out what is refused, or send partial=true.")
        self.errors = errors


class TooLarge(Exception):
    """The body is larger than this server reads."""


class Unavailable(Exception):
    """What is needed to answer is not there yet."""


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
    Exists: Row(409, "exists", "The object exists already"),
    Managed: Row(409, "managed", "The object is managed by a source"),
    Guarded: Row(409, "guarded", "A guard refused"),
    Refused: Row(409, "refused", "Some were refused"),
    InProgress: Row(409, "in_progress", "The first request with this key is under way"),
    TooMany: Row(409, "too_many", "There are too many"),
    Gone: Row(410, "gone", "The change log does not reach back that far"),
    Full: Row(409, "full", "There is no room for more"),
    Conflict: Row(412, "conflict", "The object has changed since it was read"),
    TooLarge: Row(413, "too_large", "The body is too large"),
    Invalid: Row(422, "invalid", "The manifests are not valid"),
    RequestValidationError: Row(422, "invalid", "The request is not valid"),
    KeyReused: Row(422, "idempotency_mismatch", "The key belongs to another request"),
    Unavailable: Row(503, "unavailable", "Not ready"),
    StoreError: Row(503, "unavailable", "The store does not answer"),
}

KNOWN = tuple(TABLE)

_BY_STATUS = {
    404: Row(404, "not_found", "There is nothing at this address"),
    405: Row(405, "method_not_allowed", "This address does not take this method"),
}


def body(request: Request, row: Row, detail: str, errors: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The members of RFC 9457 and ours; ``errors`` have ``field`` and ``message``, of manifests ``line`` too."""
    return {
        "type": f"urn:ggnet:error:{row.code}",
        "title": row.title,
        "status": row.status,
        "detail": detail,
        "error_code": row.code,
        "status_code": row.status,
        "timestamp": request.app.state.door.clock.now().isoformat(),
        "request_id": request.scope.get("request_id", ""),
        "errors": list(errors),
    }


def response(
    request: Request,
    row: Row,
    detail: str,
    errors: Iterable[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    content = body(request, row, detail, errors)
    return JSONResponse(content, status_code=row.status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


async def _known(request: Request, error: Exception) -> JSONResponse:
    row = next(row for kind, row in TABLE.items() if isinstance(error, kind))
    headers = {"WWW-Authenticate": "Bearer"} if row.status == 401 else {}
    if isinstance(error, Unauthorised) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, InProgress):
        headers["Retry-After"] = "1"
    detail = str(error) or str(type(error).__doc__)
    return response(request, row, detail, _errors(error, detail), headers=headers)


def _errors(error: Exception, detail: str) -> Sequence[Mapping[str, Any]]:
    match error:
        case Refused():
            return error.errors
        case KeyReused() | InProgress():
            return [{"field": "Idempotency-Key", "message": detail}]
        case Malformed(field=str(field)) if field:
            return [{"field": field, "message": detail}]
    return []


async def told(request: Request, error: Exception) -> JSONResponse:
    """What the client is told of one of ``KNOWN``."""
    if isinstance(error, Invalid):
        return await _invalid(request, error)
    if isinstance(error, RequestValidationError):
        return await _parameters(request, error)
    return await (_store if isinstance(error, StoreError) else _known)(request, error)


async def _forbidden(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Forbidden)
    return response(request, TABLE[Forbidden], str(error), [{"field": error.field, "message": str(error)}])


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Invalid)
    problems = [problem.wire() for problem in error.problems]
    first = str(error.problems[0])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return response(request, TABLE[Invalid], f"{first}{more}", problems)


async def _parameters(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [{"field": place(e["loc"][1:] or e["loc"]), "message": e["msg"]} for e in error.errors()]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
    return response(request, TABLE[RequestValidationError], detail, errors)


def place(location: Sequence[str | int]) -> str:
    """A field as it is written in a message: ``spec.macs.0``."""
    return ".".join(str(part) for part in location)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    row = _BY_STATUS.get(error.status_code) or Row(error.status_code, "http_error", str(error.detail))
    return response(
        request, row, f"{request.method} {ascii(request.url.path)[1:-1][:200]}: {row.title}", headers=error.headers
    )


async def _store(request: Request, error: Exception) -> JSONResponse:
    """What a database says may hold its address: it belongs into the log."""
    structlog.get_logger("api").error("store failed", request_id=request.scope.get("request_id"), error=str(error))
    return response(request, TABLE[StoreError], "The store does not answer now. The log of the server says why.")


def install(app: FastAPI) -> None:
    for kind in TABLE:
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(StoreError, _store)
    app.add_exception_handler(Forbidden, _forbidden)
    app.add_exception_handler(Invalid, _invalid)
    app.add_exception_handler(RequestValidationError, _parameters)
    app.add_exception_handler(HTTPException, _http)
