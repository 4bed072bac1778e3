"""An Image: the golden disk that sessions start from; never written to."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from manifests.meta import Manifest, Status, Strict
from manifests.types import shown


class ImageSource(Strict):
    """Where the bytes come from: a path below the import folder."""

    path: Annotated[str, Field(min_length=1, max_length=255)]

    @model_validator(mode="after")
    def _below_the_import_folder(self) -> Self:
        parts = self.path.split("/")
        if not self.path.isascii() or not self.path.isprintable() or any(p in ("", ".", "..") for p in parts):
            raise ValueError(f"path {shown(self.path)} must be a plain relative path below the import folder")
        return self


class ImageSpec(Strict):
    source: ImageSource
    format: Literal["auto", "raw", "qcow2", "vhd", "vhdx", "vmdk"] = "auto"
    os: Literal["windows", "linux", "other"] = "other"


class ImageVersion(Strict):
    version: int
    sha256: str
    size: int


class ImageStatus(Status):
    version: int | None = None
    sha256: str | None = None
    size: int | None = None
    versions: tuple[ImageVersion, ...] = ()


class Image(Manifest):
    kind: Literal["Image"] = "Image"
    spec: ImageSpec
    status: ImageStatus | None = None
