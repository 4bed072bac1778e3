"""Looks at an image before anything of it is used: its header by ourselves, then qemu-img; the two must agree.

Each alone has been wrong before: what QEMU follows (backing files, data files, descriptions) we refuse by name, and what
we misread, it does not.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controller.adapters import confine
from controller.adapters.images import qcow2, qemu, sniff, vhd, vhdx, vmdk
from controller.adapters.images.problem import SourceProblem
from controller.adapters.images.reader import Reader
from controller.adapters.images.sniff import SECTOR, Format, shown

LARGEST = 64 << 40
_HEADERS: Mapping[Format, Callable[[Reader], int]] = {
    "qcow2": qcow2.virtual_size,
    "vhd": vhd.virtual_size,
    "vhdx": vhdx.virtual_size,
    "vmdk": vmdk.virtual_size,
}
_NEVER = ("backing-filename", "full-backing-filename", "encrypted", "snapshots")


@dataclass(frozen=True, slots=True)
class Examined:
    """What an image is: ``virtual_size`` in bytes, a ``remark`` for people, the ``layers`` that confined the witness."""

    format: Format
    virtual_size: int
    remark: str = ""
    layers: tuple[str, ...] = ()


def header(fd: int, form: Format, *, largest: int = LARGEST, tables: bool = True) -> int:
    """The virtual size in bytes, as the header tells it, without another program. SourceProblem.

    Without the ``tables`` behind it in some milliseconds, whatever the size.
    """
    found = os.fstat(fd).st_size
    size = found if form == "raw" else _HEADERS[form](Reader(fd, found, shown(form), tables=tables))
    if size == 0:
        raise SourceProblem("SourceEmpty", "it is a disk of 0 bytes")
    if size > largest:
        raise SourceProblem(
            "SourceTooLarge", f"it claims to be a disk of {size} bytes, more than the {largest} that are allowed"
        )
    if size % SECTOR:
        mend = f"truncate -s %{SECTOR}" if form == "raw" else f"qemu-img resize, to {-(-size // SECTOR) * SECTOR}"
        raise SourceProblem("SourceUneven", f"it has {size} bytes, which is not a multiple of {SECTOR}: {mend}")
    return size


def examine(fd: int, form: Format, *, largest: int = LARGEST, check: Callable[[str], None] = confine.idle) -> Examined:
    """``form`` as sniffed. SourceProblem unless it is whole, stands alone, and holds no more than ``largest`` bytes."""
    size = header(fd, form, largest=largest)
    if form == "raw":
        return Examined(form, size, sniff.remark(fd))
    told = qemu.info(fd, form, check)
    _agree(told.facts, size)
    qemu.check_tables(fd, form, check)
    return Examined(form, size, layers=told.layers)


def _agree(facts: Mapping[str, Any], size: int) -> None:
    data = facts.get("format-specific", {}).get("data", {})
    more = [name for name in _NEVER if facts.get(name)]
    more += [name for name in ("data-file", "encrypt", "corrupt") if data.get(name)]
    if more or len(data.get("extents", ())) > 1:
        raise SourceProblem(
            "SourceRefused", f"qemu-img sees in it what its header does not tell: {', '.join(more) or 'extents'}"
        )
    if facts.get("virtual-size") != size:
        raise SourceProblem(
            "SourceCorrupt",
            f"its header tells of {size} bytes, qemu-img of {facts.get('virtual-size')}: copy or download it again",
        )


def convert(fd: int, image: Examined, made: int, *, progress: Callable[[float], None], check: Callable[[str], None]) -> None:
    """``made``, an empty file, becomes the raw disk in ``fd``; ``progress`` is told the part that is done, 0 to 1.

    ``check`` is asked ten times a second, and what it raises ends the conversion. SourceProblem; OSError, also ENOSPC.
    """
    assert image.format != "raw", "a raw disk is copied, not converted"
    os.ftruncate(made, image.virtual_size)
    qemu.convert(fd, image.format, made, image.virtual_size, progress=progress, check=check)
