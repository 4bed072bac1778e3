"""What was observed of each of a session's disks."""

from collections.abc import Mapping
from typing import Any

from controller.core import resolve
from controller.core.choice import Disk, Missing, Part
from controller.core.desired import Drive
from controller.core.index import Index
from controller.core.names import OverlayName, Site
from manifests.session import DiskStatus, Session


def tell(one: Session, index: Index, site: Site, chosen: Disk | Missing | None) -> tuple[DiskStatus, ...]:
    """By LUN. ``chosen`` is what a session that runs here is served; of any other it is what is left of its disks."""
    parts: Mapping[int, Part] = dict(enumerate(chosen.parts)) if isinstance(chosen, Disk) else {}
    return tuple(
        _told(one, lun, drive, parts.get(lun), chosen, index, site) for lun, drive in enumerate(resolve.drives(one))
    )


def boots(disk: DiskStatus) -> dict[str, Any]:
    """What is told of the disk that a session boots from beside the list."""
    return {
        "overlay": disk.overlay,
        "overlay_method": disk.overlay_method,
        "overlay_used": disk.overlay_used,
        "overlay_limit": disk.overlay_limit,
        "image_version": disk.version,
    }


def _told(
    one: Session, lun: int, drive: Drive, part: Part | None, chosen: Disk | Missing | None, index: Index, site: Site
) -> DiskStatus:
    left = _left(one, drive, index) if chosen is None else None
    left_of = left.version if left and left.image == drive.image else None
    overlay, version = (part.overlay, part.version) if part else (left, left_of)
    file = index.observed.pool.overlays.get(str(overlay)) if overlay else None
    readonly = drive.persistence == "readonly" and part is not None
    return DiskStatus(
        name=drive.name,
        lun=lun,
        image=drive.image,
        version=version,
        persistence=drive.persistence,
        overlay=str(overlay) if overlay else None,
        overlay_method=file.method if file else None,
        overlay_used=file.used if file else None,
        overlay_limit=file.limit if file else None,
        serial=site.serial(one.spec.machine, drive.name),
        state="readonly" if readonly else file.state.value if file else "pending",
    )


def _left(one: Session, drive: Drive, index: Index) -> OverlayName | None:
    uid = resolve.uid(one)
    own = (o for o in index.overlays.get(one.spec.machine, ()) if (o.uid, o.disk) == (uid, drive.name))
    return max(own, key=lambda o: (*_fits(o, drive), o.version), default=None)


def _fits(name: OverlayName, drive: Drive) -> tuple[bool, bool]:
    """How well it is what a start would take: what was kept of another image or version stays beside that."""
    return name.image == drive.image, drive.pin in (None, name.version)
