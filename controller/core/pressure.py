"""How full a private disk and the pool are, in words: told before a PC or a new session is hurt by it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.core import space
from controller.core.observed import Observed, OverlayFile, OverlayState
from controller.core.verdicts import Remark

DISK = "DiskPressure"
_RAISE = "raise spec.overlayLimit"
_AFRESH = f"{_RAISE}, or stop and start the session for a fresh disk"
_WORST = ("Full", "Broken", "NearlyFull")


@dataclass(frozen=True, slots=True)
class Pressed:
    """A disk of a session: what it is called where there are several, how many bytes its overlayLimit asks for, its
    file, and whether a start gives it that one again."""

    name: str
    asked: int | None
    file: OverlayFile | None
    kept: bool


def remarks(disks: Sequence[Pressed]) -> tuple[Remark, ...]:
    """Of a session's disks, each that is under pressure; the reason is that of the worst."""
    pressed = [(said, one.name) for one in disks if one.file and (said := _disk(one.file, _RAISE if one.kept else _AFRESH))]
    worst = min((said.reason for said, _ in pressed), key=_WORST.index, default="NearlyFull")
    unlimited = [(free, one.name) for one in disks if (free := _unlimited(one))]
    full = _named((said.message or "", name) for said, name in pressed)
    return Remark(DISK, worst, full), Remark("LimitEnforced", "NotEnforced", _named(unlimited), "False")


def _named(said: Iterable[tuple[str, str]]) -> str | None:
    return "; ".join(f"disk {name}: {message}" if name else message for message, name in said) or None


def _unlimited(one: Pressed) -> str | None:
    if one.asked is None or one.file is None or one.file.limit is not None:
        return None
    return f"spec.overlayLimit is not enforced on a disk made by {one.file.method}: set GGNET_POOL_DRIVER to snapshot"


def _disk(file: OverlayFile, remedy: str) -> Remark | None:
    most = file.limit or 0
    told = f"{file.used >> 20} of {most >> 20} MiB written"
    near = 0 < most < file.size and space.nearly(file.used, most)  # one that holds the whole disk is never full
    if file.state is OverlayState.FULL and near:
        return Remark(DISK, "Full", f"{told}: its PC cannot write any more, and what it wrote is kept: {remedy}")
    if file.state is OverlayState.FULL:
        said = "its store could not be written (is the pool full?): shut its PC down, and it is mended with what it holds"
        return Remark(DISK, "Broken", said)
    return Remark(DISK, "NearlyFull", f"{told}: {remedy}") if near else None


def pool(observed: Observed) -> str | None:
    """Why the pool needs room soon."""
    total, used = observed.pool.total, observed.pool.total - observed.pool.free
    if total == 0 or not space.nearly(used, total):
        return None
    return f"the pool is {100 * used // total} % full; above 85 % no session gets a new disk: make room in it"
