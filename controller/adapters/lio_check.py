"""What is looked at before the kernel is asked for anything: the names, and the disk that is to be served."""

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from controller.adapters.lio_read import Place
from controller.core import targets
from controller.core.desired import Lun, Target
from controller.core.names import Site, parse_backstore
from controller.ports.host import EffectRefused
from manifests.types import Ipv4, Iqn, shown

Sizes = Callable[[str], int]
_SECTOR = 512  # in which the kernel tells sizes, whatever a device's own are
# control takes key=value pairs split by commas and line ends, and keeps 255 characters of a name (target_core_file.h).
_PATH = re.compile(r"/[A-Za-z0-9._@+/:-]{1,254}", re.ASCII).fullmatch


def size_of(path: str) -> int:
    """Bytes of a plain file, or of the device-mapper's device that this path names. OSError, also for anything else."""
    if targets.block(path):
        return _block_size(path)
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "is not a plain file", path)
    return found.st_size


def _block_size(path: str) -> int:
    """The name in /dev is only a link: what it leads to says itself who it is (sysfs)."""
    found = Path(path).stat()
    device = Path(f"/sys/dev/block/{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}")
    if not stat.S_ISBLK(found.st_mode) or (device / "dm/name").read_text().strip() != path.rpartition("/")[2]:
        raise OSError(errno.EINVAL, "leads to another device", path)
    return int((device / "size").read_text()) * _SECTOR


def checked(site: Site, target: Target) -> Place:
    """Only what its grammar allows goes into a path or a control file."""
    place = Place.of(site, target.iqn)
    try:
        Iqn.parse(target.initiator)
        address, _, port = target.portal.rpartition(":")
        Ipv4.parse(address)
        plain = bool(re.fullmatch(r"[1-9][0-9]{0,4}", port, re.ASCII)) and int(port) < 1 << 16
    except ValueError as error:
        raise EffectRefused("Invalid", f"target {shown(target.iqn)}: {error}") from None
    if place is None or not _named(site, place, target):
        raise EffectRefused("Invalid", f"target {shown(target.iqn)} is not named as this site names its targets")
    if not plain:
        raise EffectRefused("Invalid", f"target {target.iqn}: portal {shown(target.portal)} must be ADDRESS:PORT")
    for path in (lun.path for lun in target.luns):
        if not _PATH(path) or any(part in ("", ".", "..") for part in path.split("/")[1:]):
            raise EffectRefused(
                "Invalid",
                f"target {target.iqn}: {shown(path)} must be an absolute path of letters, digits and . _ @ + : -"
                " with at most 255 characters, which is all that the kernel takes",
            )
    return place


def _named(site: Site, place: Place, target: Target) -> bool:
    """Whether each LUN is a disk of the target's machine, and none is there twice."""
    disks = [parts[1] for lun in target.luns if (parts := parse_backstore(lun.backstore)) and parts[0] == place.machine]
    named = [(place.of_disk(site, disk).backstore, site.serial(place.machine, disk)) for disk in disks]
    return len(set(disks)) == len(target.luns) and named == [(lun.backstore, lun.serial) for lun in target.luns]


def look_at_disk(target: Lun, sizes: Sizes) -> None:
    """The kernel makes a blank file where none is, and would serve it: look first."""
    try:
        size = sizes(target.path)
    except FileNotFoundError:
        raise EffectRefused("DiskMissing", f"{target.path} is missing") from None
    except OSError as error:
        raise EffectRefused("DiskUnreadable", f"{target.path}: {error.strerror}") from error
    if size == 0:
        raise EffectRefused("DiskEmpty", f"{target.path} is empty")
    if size % 512:
        raise EffectRefused("DiskUneven", f"{target.path} has {size} bytes, which is not a multiple of 512")
    if size != target.size:
        raise EffectRefused("DiskSize", f"{target.path} has {size} bytes where {target.size} are expected")
