"""An Image: the golden disk that sessions start from; never written to."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from manifests.meta import Manifest, Status, Strict
from manifests.types import shown

_PATH = r"^(?!/)(?!.*//)(?!(.*/)?\.{1,2}(/|$))(?!.*/$)[ -\[\]-~]+$"  # the same rule for editors


def _below_the_import_folder(path: str) -> str:
    parts = path.split("/")
    if not path.isascii() or not path.isprintable() or "\\" in path or any(p in ("", ".", "..") for p in parts):
        raise ValueError(f"{shown(path)} must be a plain relative path below the import folder, in printable ASCII")
    return path


class ImageSource(Strict):
    """Where the bytes come from: a path below the import folder."""

    path: Annotated[
        str,
        Field(min_length=1, max_length=255, json_schema_extra={"pattern": _PATH}),
        AfterValidator(_below_the_import_folder),
    ]

    @model_validator(mode="before")
    @classmethod
    def _only_a_path(cls, source: Any) -> Any:
        for other in ("upload", "url"):
            if isinstance(source, dict) and other in source:
                raise ValueError(
                    f"{other} is not available in this version: put the file into the import folder and write path: FILE"
                )
        return source


class ImageSpec(Strict):
    source: ImageSource = Field(description="Where the disk comes from.")
    format: Literal["auto", "raw", "qcow2", "vhd", "vhdx", "vmdk"] = Field(
        "auto", description="The source's format; auto looks at the file."
    )
    os: Literal["windows", "linux", "other"] = Field("other", description="What is installed on the disk.")


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
