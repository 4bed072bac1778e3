"""An Image: the golden disk that sessions start from; never written to. Each import makes a version, which never changes."""

import re
from datetime import date, datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from manifests.endpoints import HttpsUrl
from manifests.meta import Manifest, Status, Strict
from manifests.retention import Retention
from manifests.types import _Text, shown
from manifests.versions import NEWEST, Channel, Version

_PATH = r"^(?!/)(?!.*//)(?!(.*/)?\.{1,2}(/|$))(?!.*/$)[ -\[\]-~]+$"  # the same rule for editors


def _below_the_import_folder(path: str) -> str:
    parts = path.split("/")
    if not path.isascii() or not path.isprintable() or "\\" in path or any(p in ("", ".", "..") for p in parts):
        raise ValueError(f"{shown(path)} must be a plain relative path below the import folder, in printable ASCII")
    return path


class UploadId(_Text):
    """The last part of a finished upload's URL: 32 hexadecimal digits."""

    __slots__ = ()
    pattern = "^[0-9a-f]{32}$"
    example = "0d5e0a2e8f0b4a2e9b7e2f6f0c1d2e3f"
    _match = re.compile(pattern, re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not cls._match(text):
            raise ValueError(f"{shown(text)} is not an upload: 32 hexadecimal digits, as `ggnet image upload` tells them")
        return str.__new__(cls, text)


class Sha256(_Text):
    """A SHA-256 digest (FIPS 180-4), 64 hexadecimal digits, kept in lower case."""

    __slots__ = ()
    pattern = "^[0-9A-Fa-f]{64}$"
    example = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    _match = re.compile(pattern, re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not cls._match(text):
            raise ValueError(f"{shown(text)} is not a sha256: 64 hexadecimal digits, as sha256sum prints them")
        return str.__new__(cls, text.lower())


_ONE: Final = ("path", "upload", "url")


class ImageSource(Strict):
    """Where the bytes come from: ``path``, ``upload``, or ``url`` with ``sha256``."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [name]} for name in _ONE],
            "dependentRequired": {"url": ["sha256"]},
        }
    )

    path: (
        Annotated[
            str,
            Field(min_length=1, max_length=255, json_schema_extra={"pattern": _PATH}),
            AfterValidator(_below_the_import_folder),
        ]
        | None
    ) = Field(None, description="A file below the import folder.")
    upload: UploadId | None = Field(None, description="A finished upload.")
    url: HttpsUrl | None = Field(None, description="Where the controller fetches it from; needs sha256.")
    sha256: Sha256 | None = Field(None, description="What the file, as it comes, must hash to.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in _ONE if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"has {' and '.join(given) or 'none of them'}: write one of path, upload and url")
        if self.url is not None and self.sha256 is None:
            raise ValueError("has a url without sha256: write the digest that its publisher tells (sha256sum FILE)")
        return self


def _settable(channels: dict[Channel, Version] | None) -> dict[Channel, Version] | None:
    if channels and NEWEST in channels:
        raise ValueError(f"{NEWEST} is always the newest version: give the channel another name, like stable")
    return channels or None


class ImageSpec(Strict):
    source: ImageSource = Field(description="Where the disk comes from.")
    format: Literal["auto", "raw", "qcow2", "vhd", "vhdx", "vmdk"] = Field(
        "auto", description="The source's format; auto looks at the file."
    )
    os: Literal["windows", "linux", "other"] = Field("other", description="What is installed on the disk.")
    comment: str | None = Field(None, max_length=1000, description="What is new in this source; kept with its version.")
    channels: Annotated[dict[Channel, Version] | None, AfterValidator(_settable)] = Field(
        None, description="Names that point at versions: stable: v3."
    )
    retention: Retention | None = Field(None, description="Which versions stay; unset: as its defaults say.")


class ImageVersion(Strict):
    """What a version is, and what its source was found to be: its ``format``, a ``remark`` for people, the ``layers``
    that confined who looked into it. ``kept_by`` is what keeps it from being collected; if that is nothing but its last
    use, ``collected_after`` says how long that does."""

    version: int
    sha256: str
    size: int
    made_at: datetime | None = None
    made_by: str | None = None
    parent: int | None = None
    comment: str | None = None
    last_used: date | None = None
    kept_by: tuple[str, ...] = ()
    collected_after: date | None = None
    format: str | None = None
    remark: str | None = None
    layers: tuple[str, ...] = ()


class ChannelStatus(Strict):
    """What a channel points at since when, and what it pointed at before."""

    version: int
    previous: int | None = None
    since: datetime


class ImageStatus(Status):
    version: int | None = None
    sha256: str | None = None
    size: int | None = None
    versions: tuple[ImageVersion, ...] = ()
    channels: dict[str, ChannelStatus] = Field(default_factory=dict)


class Image(Manifest):
    kind: Literal["Image"] = "Image"
    spec: ImageSpec
    status: ImageStatus | None = None
