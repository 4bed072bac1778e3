"""A Session: one machine runs one image."""

import re
from datetime import datetime
from typing import Literal, Self

from pydantic import Field

from manifests.meta import Manifest, Status, Strict
from manifests.types import Duration, Name, Size, _Text, shown


class ImageRef(_Text):
    """``win11`` (the newest version, frozen at start) or ``win11@v3`` (that one)."""

    __slots__ = ()
    pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(@v[1-9][0-9]{0,8})?$"
    example = "win11@v3"
    _match = re.compile(pattern, re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not cls._match(text):
            raise ValueError(f"{shown(text)} is not an image: write its name, or name@v3 to pin a version")
        return str.__new__(cls, text)

    @property
    def image(self) -> str:
        return self.partition("@v")[0]

    @property
    def version(self) -> int | None:
        pin = self.partition("@v")[2]
        return int(pin) if pin else None


class SessionSpec(Strict):
    machine: Name = Field(description="The Machine that boots.")
    image: ImageRef = Field(description="The Image it boots from, name or name@v3; frozen at start.")
    state: Literal["running", "stopped"] = Field("running", description="Whether it shall run.")
    persistence: Literal["ephemeral", "keep", "readonly"] = Field(
        "ephemeral", description="What becomes of its writes: dropped at stop, kept, or refused."
    )
    overlay_limit: Size | None = Field(None, description="How much it may write.")
    ttl: Duration | None = Field(None, description="How long it may run.")


class SessionStatus(Status):
    target: str | None = None
    lun: int | None = None
    initiator: str | None = None
    overlay: str | None = None
    overlay_method: str | None = None
    image_version: int | None = None
    connection: str | None = None
    started_at: datetime | None = None


class Session(Manifest):
    kind: Literal["Session"] = "Session"
    spec: SessionSpec
    status: SessionStatus | None = None
