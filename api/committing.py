"""What a commit of a kept disk asks for, and why it is refused before anything is held for it."""

import secrets
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from api.deps import Principal
from api.errors import Guarded
from manifests.commits import CommitRequest
from manifests.disks import DiskName
from manifests.image import Image
from manifests.load import Invalid, Problem
from manifests.meta import Strict
from manifests.session import Session, SessionDiskSpec
from manifests.types import shown


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("is one line of printable characters")
    return text


class Committing(Strict):
    """Which disk, and what is new on it."""

    model_config = ConfigDict(json_schema_extra={"example": {"disk": "os", "comment": "office suite installed"}})

    disk: DiskName | None = Field(None, description="default: the disk that boots")
    comment: Annotated[str, Field(max_length=1000), AfterValidator(_printable)] | None = Field(
        None, description="What is new in this version; kept with it."
    )


def chosen(one: Session, wanted: Committing) -> SessionDiskSpec:
    """Invalid."""
    disks = {str(disk.name): disk for disk in one.spec.all_disks}
    name = wanted.disk or next(iter(disks))
    if name not in disks:
        message = f"{one.key} has no disk {shown(name)}, it has {', '.join(disks)}"
        raise Invalid([Problem("", 0, one.key, "disk", message)])
    return disks[name]


def asked(one: Session, disk: SessionDiskSpec, image: Image, wanted: Committing, who: Principal) -> CommitRequest:
    """Guarded, with what to do about it."""
    if (under_way := one.metadata.commit) is not None:
        raise Guarded(f"{one.key} has a commit of disk {under_way.disk} under way: wait for that one.")
    if disk.persistence != "keep":
        raise Guarded(
            f"Disk {disk.name} of {one.key} is {disk.persistence}: only what is kept can be committed. "
            "Start it with persistence keep."
        )
    if one.status is not None and one.status.connection in ("active", "unknown"):
        raise Guarded(f"{one.spec.machine} is running on {one.key}, or that cannot be told: shut it down first.")
    base = _version(one, disk)
    if base is None:
        raise Guarded(f"Nothing is kept of disk {disk.name} of {one.key} yet: start it, and commit what it wrote.")
    newest = image.status.version if image.status else None
    if base != newest:
        raise Guarded(
            f"Disk {disk.name} of {one.key} stands on v{base} of {image.key}, whose newest version is v{newest}:"
            " only what stands on the newest can be committed."
        )
    return CommitRequest(secrets.token_hex(16), str(disk.name), image.name, base, who.actor.name, wanted.comment)


def _version(one: Session, disk: SessionDiskSpec) -> int | None:
    if one.status is None:
        return None
    told = next((each for each in one.status.disks or () if each.name == disk.name), None)
    if told is not None:
        return told.version if told.overlay else None
    return one.status.image_version if one.status.overlay and one.spec.disks is None else None
