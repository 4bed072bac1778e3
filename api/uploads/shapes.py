"""What is answered about uploads, and the headers that tus has for it."""

from datetime import datetime
from email.utils import format_datetime
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field

from api.metrics import PREFIX
from api.uploads import tus
from controller.ports.uploads import Upload
from manifests.meta import Strict

_ID = "4f2a91c07d3e4b58a6c1f09e2d7b3a65"
_SHOWN: dict[str, Any] = {
    "id": _ID,
    "owner": "ada",
    "filename": "win11.vhdx",
    "length": 21474836480,
    "offset": 1073741824,
    "complete": False,
    "createdAt": "2026-01-05T12:00:00Z",
    "expiresAt": "2026-01-06T12:10:00Z",
    "metadata": {"filename": "win11.vhdx"},
}


class UploadView(Strict):
    """An upload as it stands: ``offset`` of its ``length`` bytes are kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SHOWN]})

    id: Annotated[str, Field(description="what an Image's source.upload takes, once it is complete")]
    owner: Annotated[str, Field(description="empty once the account is gone")]
    filename: Annotated[str, Field(description="as the client called it; nothing here is called so")]
    length: int
    offset: int
    complete: bool
    created_at: datetime
    expires_at: Annotated[datetime | None, Field(description="absent once it is complete")] = None
    metadata: dict[str, str]

    @classmethod
    def of(cls, one: Upload) -> Self:
        told = tus.metadata(one.metadata)
        return cls(
            id=one.id,
            owner=one.owner_name,
            filename=told.get("filename", ""),
            length=one.length,
            offset=one.offset,
            complete=one.complete,
            created_at=one.created_at,
            expires_at=one.expires_at,
            metadata=told,
        )


class PageEnd(Strict):
    """``continue`` is absent on the last page."""

    continue_: Annotated[str | None, Field(alias="continue")] = None


class UploadList(Strict):
    """The newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_SHOWN], "metadata": {}}]})

    items: list[UploadView]
    metadata: PageEnd


def standing(one: Upload) -> dict[str, str]:
    """Where it stands and until when: Upload-Offset, Upload-Expires (RFC 9110, 5.6.7)."""
    expires = {} if one.expires_at is None else {"Upload-Expires": format_datetime(one.expires_at, usegmt=True)}
    return {"Upload-Offset": str(one.offset), **expires}


def described(one: Upload) -> dict[str, str]:
    """What a HEAD tells; a copy of it would be wrong in a moment."""
    more = {"Upload-Metadata": one.metadata} if one.metadata else {}
    return {**standing(one), "Upload-Length": str(one.length), **more, "Cache-Control": "no-store"}


def location(one: Upload) -> str:
    return f"{PREFIX}{tus.PATH}/{one.id}"
