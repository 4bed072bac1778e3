"""The planner of images and overlays. Images are imported and never pruned; an overlay goes with its session."""

from collections.abc import Iterable, Iterator, Sequence

from controller.core.cases import Case
from controller.core.choice import Disk
from controller.core.index import Index
from controller.core.names import OverlayName
from controller.core.steps import Change, CreateOverlay, DeleteOverlay, Effect, ImportImage, Step, WithdrawTarget
from controller.core.world import Desired

# A disk outlives its session's row only where the store was lost or put back: what is on it may be all that is left.
_STRAY = "no session with the uid {} is known: put the lost store back, or remove the file from the pool by hand"


def imports(desired: Desired, index: Index) -> Iterator[Step]:
    """Images whose source is not the one that the newest version was made from."""
    observed = index.observed
    if "pool" not in observed.complete or "pool" in observed.unreadable:
        return
    for name, image in sorted(desired.images.items()):
        source, versions = observed.pool.sources.get(name), observed.pool.images.get(name, {})
        newest = versions[max(versions)] if versions else None
        if source is None or source.stamp is None or source.problem or name in observed.unreadable:
            continue
        if newest is not None and newest.stamp == source.stamp:
            continue
        # A number that an overlay still carries is never given out again, even when the version itself is lost.
        version = max(newest.version if newest else 0, _used(name, index)) + 1
        key = f"Image/{name}"
        yield Step(
            ImportImage(name, version, image.source),
            frozenset({key}),
            "drift" if image.settled and newest is None else key,
            changes=(Change("version", f"v{newest.version}" if newest else None, f"v{version}"),),
            held=f"suspended: ggnet resume {key}" if image.paused else None,
        )


def _used(image: str, index: Index) -> int:
    """The newest version that an overlay carries."""
    return max((o.version for group in index.overlays.values() for o in group if o.image == image), default=0)


def creations(cases: Sequence[Case]) -> Iterator[Step]:
    """Overlays that are not there yet; made ahead even while the target must wait, so that the change itself is short."""
    for case in cases:
        if isinstance(case.disk, Disk) and case.disk.create and case.disk.overlay:
            name = case.disk.overlay
            yield Step(
                CreateOverlay(name, case.disk.target.size),
                case.owners,
                case.cause,
                changes=(Change(str(name), None, f"{case.disk.target.size} bytes"),),
                held=case.waits if case.lost else case.suspended,
            )


def deletions(cases: Sequence[Case], desired: Desired, index: Index, leaving: Iterable[Step]) -> Iterator[Step]:
    """Overlays of no session that runs or is kept, after the target that stands on them: one whose target stays, stays.

    ``leaving`` are this plan's withdrawals, the held ones too.
    """
    waits = {step.action.iqn: step.held for step in leaving if isinstance(step.action, WithdrawTarget)}
    for case in cases:
        for overlay in case.overlays:
            if not _unwanted(case, overlay, desired, index):
                continue
            size = index.observed.pool.overlays[str(overlay)].size
            gone = (Change(str(overlay), f"{size} bytes", None),)
            if not _known(case, overlay):
                yield Step(DeleteOverlay(overlay), frozenset(), "drift", Effect.DATA_LOSS, gone, _STRAY.format(overlay.uid))
                continue
            held = case.suspended
            if case.exported == str(overlay):
                held = held or case.in_use
                if not case.publishes:
                    held = held or waits.get(case.iqn, f"{case.iqn} still stands on it")
            yield Step(
                DeleteOverlay(overlay),
                case.owners_of(overlay),
                case.cause,
                effect=Effect.DATA_LOSS if overlay.uid in case.client.discard else Effect.NONE,
                changes=gone,
                held=held,
            )


def _unwanted(case: Case, overlay: OverlayName, desired: Desired, index: Index) -> bool:
    if case.blind or overlay.uid in desired.keep or index.blind("pool", str(overlay)):
        return False
    boot = case.client.boot
    if boot is not None and not isinstance(case.disk, Disk):
        return False  # which disk it gets is not known, so neither is which it does not
    if isinstance(case.disk, Disk) and case.disk.overlay == overlay:
        return False
    if _known(case, overlay):
        return True
    # Of a session that we do not know: only in a picture that is whole, and never of what was let go in place.
    whole = desired.complete and index.observed.complete >= {"pool", "lio"}
    return whole and not case.client.orphan and case.client.machine not in desired.orphans


def _known(case: Case, overlay: OverlayName) -> bool:
    boot = case.client.boot
    return overlay.uid in case.client.idle or (boot is not None and boot.uid == overlay.uid)
