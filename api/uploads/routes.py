"""Uploads: create, send a piece, ask how far it is, discard. One's own; of an administrator everybody's.

``HEAD`` is answered by ``GET``, whose content the edge leaves out.
"""

import base64
import binascii
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api.answers import refusals
from api.deps import Asking, Door, DoorOf, Principal
from api.errors import Forbidden, Malformed, TooLarge
from api.problems import TUS
from api.recording import entry
from api.roles import Role
from api.uploads import tus
from api.uploads.shapes import PageEnd, UploadList, UploadView, described, location, standing
from controller.ports.audit import Entry
from controller.ports.uploads import ALGORITHMS, Act, ChecksumMismatch, NoRoom, NoUpload, Place, Teller, TooLong, Upload

router = APIRouter(prefix=tus.PATH, tags=["uploads"], responses=refusals(403))

Version = Annotated[str | None, Header(alias="Tus-Resumable", description="the version of tus", examples=[TUS])]
Offset = Annotated[str | None, Header(alias="Upload-Offset", description="where the piece begins", examples=["0"])]
Sum = Annotated[
    str | None,
    Header(
        alias="Upload-Checksum",
        description="sha256 or sha1, and the digest of this piece in base64",
        examples=["sha256 ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs="],
    ),
]
_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}, "example": "the bytes themselves"}
_PIECE: dict[str, Any] = {"requestBody": {"required": True, "content": {tus.MEDIA: _BYTES}}}
_FIRST: dict[str, Any] = {"requestBody": {"required": False, "content": {tus.MEDIA: _BYTES}}}


async def _spoken(version: Version = None) -> None:
    """OtherVersion."""
    tus.same_version(version)


Spoken = Depends(_spoken)


@router.options("", summary="What of tus is spoken here", status_code=204)
async def options(door: DoorOf) -> Response:
    headers = {
        "Tus-Version": TUS,
        "Tus-Extension": tus.EXTENSIONS,
        "Tus-Max-Size": str(door.uploads.most),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }
    return Response(status_code=204, headers=headers)


@router.post(
    "",
    summary="Create an upload; its address is the Location of the answer",
    status_code=201,
    response_model_exclude_none=True,
    dependencies=[Spoken],
    openapi_extra=_FIRST,
    responses=refusals(400, 409, 412, 413, 460, 507),
)
async def create(
    request: Request,
    response: Response,
    door: DoorOf,
    who: Asking,
    length: Annotated[str | None, Header(alias="Upload-Length", description="bytes of the file", examples=["4096"])] = None,
    metadata: Annotated[
        str, Header(alias="Upload-Metadata", description="pairs of key and base64; filename", examples=["filename ZGlzaw=="])
    ] = "",
    checksum: Sum = None,
) -> UploadView:
    """With a first piece as the body, where there is one."""
    if "upload-defer-length" in request.headers:
        raise Malformed("Upload-Defer-Length is not taken: say how long the file is (Upload-Length).", "Upload-Defer-Length")
    total, named = tus.number(length, "Upload-Length"), tus.metadata(metadata)
    if total > door.uploads.most:
        raise TooLarge(
            f"Upload-Length: an upload has at most {door.uploads.most} bytes (GGNET_UPLOAD_QUOTA): ask an administrator."
        )
    expected, told = tus.checksum(checksum), _teller(door, who, named.get("filename", ""))
    made = await door.uploads.create(who.uid, total, metadata, told)
    if tus.carries(request.headers.get("content-type", "")):
        try:
            made = await door.uploads.append(made.id, 0, request.stream(), _size(request), told, expected)
        except (ChecksumMismatch, TooLong, NoRoom):  # nobody was told where it is
            await door.uploads.remove(made.id, told)
            raise
    response.headers.update({"Location": location(made), **standing(made)})
    return UploadView.of(made)


@router.get("", summary="List one's own uploads", response_model_exclude_none=True, responses=refusals(400))
async def list_all(
    door: DoorOf,
    who: Asking,
    everybody: Annotated[bool, Query(description="for administrators: those of all users")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(alias="continue", max_length=128, description="metadata.continue of the page before")] = "",
) -> UploadList:
    if everybody and who.role is not Role.ADMIN:
        raise Forbidden(f"everybody=true is for administrators (ADMIN), and {who.name} is {who.role} here.", "everybody")
    found, more = await door.uploads.list(None if everybody else who.uid, _place(after), limit)
    return UploadList(items=[UploadView.of(one) for one in found], metadata=PageEnd(continue_=more and _token(more)))


@router.get(
    "/{id}",
    summary="How far an upload is; HEAD tells it in headers alone",
    response_model_exclude_none=True,
    responses=refusals(404, 412, 423),
)
async def read(id: str, response: Response, door: DoorOf, who: Asking, version: Version = None) -> UploadView:
    if version is not None:
        tus.same_version(version)
    upload = await _found(door, who, id)
    response.headers.update(described(upload))
    return UploadView.of(upload)


@router.patch(
    "/{id}",
    summary="Send a piece",
    status_code=204,
    dependencies=[Spoken],
    openapi_extra=_PIECE,
    responses=refusals(400, 404, 409, 412, 413, 415, 423, 460, 507),
)
async def append(
    id: str, request: Request, door: DoorOf, who: Asking, offset: Offset = None, checksum: Sum = None
) -> Response:
    """What has come stays when the line breaks, unless a checksum was to tell that it is good."""
    tus.piece(request.headers.get("content-type", ""))
    start, expected = tus.number(offset, "Upload-Offset"), tus.checksum(checksum)
    await _found(door, who, id)
    now = await door.uploads.append(id, start, request.stream(), _size(request), _teller(door, who), expected)
    return Response(status_code=204, headers=standing(now))


@router.delete(
    "/{id}",
    summary="Discard an upload with its bytes",
    status_code=204,
    dependencies=[Spoken],
    responses=refusals(404, 412, 423),
)
async def discard(id: str, door: DoorOf, who: Asking) -> Response:
    await _found(door, who, id)
    await door.uploads.remove(id, _teller(door, who))
    return Response(status_code=204)


@router.post(
    "/{id}",
    summary="PATCH or DELETE, for those who can send neither",
    status_code=204,
    dependencies=[Spoken],
    openapi_extra=_FIRST,
    responses=refusals(400, 404, 409, 412, 413, 415, 423, 460, 507),
)
async def overridden(
    id: str,
    request: Request,
    door: DoorOf,
    who: Asking,
    method: Annotated[
        str | None, Header(alias="X-HTTP-Method-Override", description="PATCH or DELETE", examples=["PATCH"])
    ] = None,
    offset: Offset = None,
    checksum: Sum = None,
) -> Response:
    match (method or "").upper():
        case "PATCH":
            return await append(id, request, door, who, offset, checksum)
        case "DELETE":
            return await discard(id, door, who)
    raise Malformed("X-HTTP-Method-Override: send PATCH or DELETE, or use those methods.", "X-HTTP-Method-Override")


async def _found(door: Door, who: Principal, upload_id: str) -> Upload:
    """NoUpload, also for what is another's."""
    upload = await door.uploads.find(upload_id)
    if upload.owner != who.uid and who.role is not Role.ADMIN:
        raise NoUpload
    return upload


def _teller(door: Door, who: Principal, filename: str = "") -> Teller:
    def told(act: Act, upload: Upload) -> Entry:
        before: dict[str, int] | None = None
        after: dict[str, int | str] | None = {"length": upload.length}
        if act == "upload-create":
            after = {"length": upload.length, "filename": filename}
        elif act == "upload-delete":
            before, after = {"length": upload.length, "offset": upload.offset}, None
        return entry(door, who.actor, act, object_=upload.key, before=before, after=after)

    return told


def _size(request: Request) -> int | None:
    """Of a body in chunks nobody knows it."""
    given = request.headers.get("content-length")
    return int(given) if given is not None else None if "transfer-encoding" in request.headers else 0


def _token(place: Place) -> str:
    return base64.urlsafe_b64encode(f"{place.created_at.isoformat()} {place.id}".encode()).decode()


def _place(token: str) -> Place | None:
    """Malformed."""
    if not token:
        return None
    with suppress(binascii.Error, ValueError, OverflowError):
        when, _, upload_id = base64.urlsafe_b64decode(token.encode("ascii")).decode("ascii").partition(" ")
        created_at = datetime.fromisoformat(when)
        if created_at.tzinfo is not None and upload_id.isalnum():
            return Place(created_at.astimezone(UTC), upload_id)
    raise Malformed("continue takes the metadata.continue of the page before, unchanged.")
