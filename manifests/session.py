"""A Session: one machine runs one image, or several disks, of which the first boots."""

from datetime import datetime
from typing import Final, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from manifests.disks import MOST, SYSTEM_DISK, DiskName
from manifests.meta import Manifest, Status, Strict
from manifests.types import Duration, Name, Size, shown
from manifests.versions import ImageRef

Persistence = Literal["ephemeral", "keep", "readonly"]
_KEPT: Final = "What becomes of its writes: dropped at stop, kept, or refused."
_FORMS: Final = ("image", "disks")


class SessionDiskSpec(Strict):
    name: DiskName = Field(description="Names it for its machine, for ever: its serial number is made of both.")
    image: ImageRef = Field(description="The Image that it starts from: name, name@stable or name@v3; frozen at start.")
    persistence: Persistence | None = Field(None, description=f"{_KEPT} Default: the session's.")
    overlay_limit: Size | None = Field(None, description="How much may be written to it. Default: the session's.")


class SessionSpec(Strict):
    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in _FORMS]})

    machine: Name = Field(description="The Machine that boots.")
    image: ImageRef | None = Field(
        None, description="The Image it boots from: name, name@stable or name@v3; frozen at start. Or else disks."
    )
    disks: tuple[SessionDiskSpec, ...] | None = Field(
        None, min_length=1, max_length=MOST, description="Its disks, in the order of their LUNs: the first boots."
    )
    state: Literal["running", "stopped"] = Field("running", description="Whether it shall run.")
    persistence: Persistence = Field("ephemeral", description=_KEPT)
    overlay_limit: Size | None = Field(None, description="How much it may write.")
    ttl: Duration | None = Field(None, description="How long it may run.")

    @field_validator("disks")
    @classmethod
    def _each_once(cls, disks: tuple[SessionDiskSpec, ...] | None) -> tuple[SessionDiskSpec, ...] | None:
        names = [disk.name for disk in disks or ()]
        if twice := next((name for at, name in enumerate(names) if name in names[:at]), None):
            raise ValueError(f"two disks are called {shown(twice)}: give each a name of its own")
        return disks

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.image is None) == (self.disks is None):
            given = "neither image nor disks" if self.image is None else "both image and disks"
            raise ValueError(f"has {given}: write image for one disk, or disks for several")
        return self

    @property
    def all_disks(self) -> tuple[SessionDiskSpec, ...]:
        """Each with what it takes from the session. One that only names an image has the one disk ``os``."""
        if self.disks is None:
            assert self.image is not None  # one of the two is, or it would not have been taken
            disks: tuple[SessionDiskSpec, ...] = (SessionDiskSpec(name=DiskName.parse(SYSTEM_DISK), image=self.image),)
        else:
            disks = self.disks
        usual = {"persistence": self.persistence, "overlay_limit": self.overlay_limit}
        return tuple(
            disk.model_copy(update={field: value for field, value in usual.items() if getattr(disk, field) is None})
            for disk in disks
        )

    @property
    def images(self) -> tuple[tuple[str, ImageRef], ...]:
        """The images that it names, each with the field that does."""
        if self.disks is None:
            return (("image", self.image),) if self.image is not None else ()
        return tuple((f"disks[{number}].image", disk.image) for number, disk in enumerate(self.disks))


class DiskStatus(Strict):
    """One of a session's disks. ``state``: pending readonly ready inactive lost full stranded."""

    name: str
    lun: int
    image: str
    version: int | None = None
    persistence: str
    overlay: str | None = None
    overlay_method: str | None = None
    overlay_used: int | None = None
    overlay_limit: int | None = None
    serial: str
    state: str


class SessionStatus(Status):
    """``lun`` and what is told of an overlay and its version are those of the disk that boots; ``disks`` tells of each, of
    a session that lists them."""

    target: str | None = None
    lun: int | None = None
    initiator: str | None = None
    overlay: str | None = None
    overlay_method: str | None = None
    overlay_used: int | None = None
    overlay_limit: int | None = None
    image_version: int | None = None
    connection: str | None = None
    started_at: datetime | None = None
    disks: tuple[DiskStatus, ...] | None = None


class Session(Manifest):
    kind: Literal["Session"] = "Session"
    spec: SessionSpec
    status: SessionStatus | None = None
