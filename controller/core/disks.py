"""The planner of images and overlays. What becomes of an image's versions is its retention's; an overlay goes with its
session."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from controller.core.cases import Case
from controller.core.choice import Disk, Part
from controller.core.desired import Commit, Desired, Golden
from controller.core.index import Index
from controller.core.names import OverlayName
from controller.core.observed import ImageFile, SourceFile
from controller.core.steps import (
    ActivateOverlay,
    Change,
    CreateOverlay,
    DeleteOverlay,
    DiscardSource,
    Effect,
    ImportImage,
    Step,
    WithdrawTarget,
)

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
        if source is None or source.problem or name in observed.unreadable or made(image, source, versions):
            continue
        # A number that an overlay still carries is never given out again, even when the version itself is lost.
        version = max(newest.version if newest else 0, used(name, index)) + 1
        key = f"Image/{name}"
        yield Step(
            ImportImage(
                name,
                version,
                image.source,
                image.format,
                image.origin,
                image.sha256,
                image.author,
                image.comment,
                newest.version if newest else None,
            ),
            frozenset({key}),
            "drift" if image.settled and newest is None else key,
            changes=(Change("version", f"v{newest.version}" if newest else None, f"v{version}"),),
            held=f"suspended: ggnet resume {key}" if image.paused else None,
        )


def made(image: Golden, source: SourceFile, versions: Mapping[int, ImageFile]) -> bool:
    """Whether a version was made of the source as it is: of a file that may change, the newest."""
    if image.identity:
        return _has(image, versions)
    return bool(versions) and versions[max(versions)].stamp == source.stamp


def spent(desired: Desired, index: Index) -> Iterator[Step]:
    """Uploads whose versions are made, and downloads that nothing is to be made of any more. Nobody's status waits for
    that. An upload that no version is of stays: whoever sent it may still name it."""
    pool = index.observed.pool
    if "pool" not in index.observed.complete or "pool" in index.observed.unreadable:
        return
    there = frozenset(one.identity for versions in pool.images.values() for one in versions.values())
    asked = {image.identity: f"Image/{name}" for name, image in sorted(desired.images.items())}
    due = {image.identity for name, image in desired.images.items() if not _has(image, pool.images.get(name, {}))}
    for identity in sorted(pool.brought - due):
        if identity in there or identity.startswith("sha256 "):
            gone = (Change(identity, "in the pool", None),)
            yield Step(DiscardSource(identity), frozenset(), asked.get(identity, "nobody"), changes=gone)


def _has(image: Golden, versions: Mapping[int, ImageFile]) -> bool:
    return any(one.identity == image.identity for one in versions.values())


def used(image: str, index: Index) -> int:
    """The newest version that an overlay carries."""
    return max((version for name, version in index.standing if name == image), default=0)


def creations(cases: Sequence[Case]) -> Iterator[Step]:
    """Overlays that are not there yet, or not as they must be; made ahead even while the target must wait, so that the
    change itself is short."""
    for case in cases:
        for part in case.disk.parts if isinstance(case.disk, Disk) else ():
            if part.overlay and (part.create or part.activate):
                held = case.waits if part in case.renewed else case.suspended
                yield _creation(case, part, part.overlay, held)


def _creation(case: Case, part: Part, name: OverlayName, held: str | None) -> Step:
    size, durable = part.lun.size, part.lun.durable
    if part.create:
        changes = (Change(str(name), None, f"{size} bytes"),)
        action: CreateOverlay | ActivateOverlay = CreateOverlay(name, size, part.limit, durable)
    else:
        changes = (Change(str(name), part.found.value, "ready"),)
        action = ActivateOverlay(name, part.limit or size, durable)
    return Step(action, case.owners, case.cause, changes=changes, held=held)


def deletions(cases: Sequence[Case], desired: Desired, index: Index, leaving: Iterable[Step]) -> Iterator[Step]:
    """Overlays of no session that runs or is kept, after the target that stands on them: one whose target stays, stays.

    ``leaving`` are this plan's withdrawals, the held ones too.
    """
    waits = {step.action.iqn: step.held for step in leaving if isinstance(step.action, WithdrawTarget)}
    here = cache(lambda: _sessions(desired))
    for case in cases:
        for overlay in case.overlays:
            if not _unwanted(case, overlay, desired, index):
                continue
            size = index.observed.pool.overlays[str(overlay)].size
            gone = (Change(str(overlay), f"{size} bytes", None),)
            if not _known(case, overlay) and overlay.uid not in here():
                yield Step(DeleteOverlay(overlay), frozenset(), "drift", Effect.DATA_LOSS, gone, _STRAY.format(overlay.uid))
                continue
            held = case.suspended
            if overlay.exported in case.exported:
                held = held or case.in_use
                if not case.publishes:
                    held = held or waits.get(case.iqn, f"{case.iqn} still stands on it")
            yield Step(
                DeleteOverlay(overlay),
                case.owners_of(overlay),
                case.cause,
                effect=Effect.DATA_LOSS if overlay.uid in case.client.discard and _keeps(overlay, desired) else Effect.NONE,
                changes=gone,
                held=held,
            )


def _unwanted(case: Case, overlay: OverlayName, desired: Desired, index: Index) -> bool:
    if case.blind or (overlay.uid in desired.keep and _keeps(overlay, desired)) or index.blind("pool", str(overlay)):
        return False
    boot = case.client.boot
    if boot is not None and not isinstance(case.disk, Disk):
        return False  # which disk it gets is not known, so neither is which it does not
    if isinstance(case.disk, Disk) and any(part.overlay == overlay for part in case.disk.parts):
        return False
    if any(is_of(overlay, commit) for commit in case.client.commits):
        return False  # whether it is to be kept may have changed since that was asked for
    if _known(case, overlay):
        return True
    # Of a session that we do not know: only in a picture that is whole, and never of what was let go in place.
    whole = desired.complete and index.observed.complete >= {"pool", "lio"}
    return whole and not case.client.orphan and case.client.machine not in desired.orphans


def _sessions(desired: Desired) -> frozenset[str]:
    """The uids of all that are known here, but those that go with what they kept: one that was given another machine
    leaves its disk with the old one."""
    booted = (client.boot.uid for client in desired.clients.values() if client.boot)
    return frozenset(booted).union(*(client.idle.keys() - client.discard for client in desired.clients.values()))


def is_of(overlay: OverlayName, commit: Commit) -> bool:
    """Whether this is the disk that is to be committed."""
    asked = (commit.uid, commit.disk, commit.image, commit.base)
    return (overlay.uid, overlay.disk, overlay.image, overlay.version) == asked


def _keeps(overlay: OverlayName, desired: Desired) -> bool:
    """Whether this is one of a session's disks that are kept, if it keeps any."""
    return (overlay.uid, overlay.disk) not in desired.shed


def _known(case: Case, overlay: OverlayName) -> bool:
    boot = case.client.boot
    return overlay.uid in case.client.idle or (boot is not None and boot.uid == overlay.uid)
