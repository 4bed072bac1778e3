"""Which versions of an image stay and why, and which go: the others, once nobody has used them for long enough.

What anything may stand on stays, and what cannot be told apart from that. A use is known by its day (UTC), so that a
version that is used all day long is noted once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from controller.core.desired import Desired, Golden
from controller.core.index import Index
from controller.core.names import OverlayName, golden, parse_golden
from controller.core.observed import ImageFile, Observed
from controller.core.prune import guard
from controller.core.steps import Change, DeleteVersion, ImportImage, NoteUse, ReleaseVersion, Step
from controller.core.targets import exported

_EPOCH = date(1970, 1, 1)
_GUARDED = (
    "{} of {} versions would go at once, more than the prune guard allows: raise spec.retention.keep of their images, and"
    " lower it bit by bit"
)


@dataclass(frozen=True, slots=True)
class Stay:
    """``reasons`` is what keeps a version for as long as it is so; without one it stays up to and with the day ``until``."""

    reasons: tuple[str, ...] = ()
    until: int | None = None


def dated(number: int) -> date:
    """Of a day since 1970."""
    return _EPOCH + timedelta(days=number)


def stays(image: Golden, desired: Desired, index: Index) -> Mapping[int, Stay]:
    """Why each version of the image that is in the pool stays, as far as that is told by names and objects."""
    versions = index.observed.pool.images.get(image.name, {})
    newest = sorted(versions, reverse=True)[: max(1, image.retention.keep)]
    found = {}
    for version, file in versions.items():
        reasons = tuple(_held(image, file, newest)) or _standing((image.name, version), desired, index)
        found[version] = Stay(reasons) if reasons else Stay(until=file.used + image.retention.days)
    return found


def _held(image: Golden, file: ImageFile, newest: list[int]) -> Iterator[str]:
    version = file.version
    if not image.retention.collect:
        yield "spec.retention.collect"
    if image.paused:
        yield "suspended"
    if version in newest:
        yield f"newest {len(newest)}" if len(newest) > 1 else "newest"
    if f"v{version}" in image.retention.protect:
        yield "protected"
    yield from (f"channel {name}" for name, pointed in sorted(image.channels.items()) if pointed == version)
    yield from (f"rollback of {name}" for name in sorted(image.former.get(version, ())))
    if image.identity and file.identity == image.identity:
        yield "source"  # without it the same bytes would be imported again
    if not file.used:
        yield "unknown use"


def _standing(version: tuple[str, int], desired: Desired, index: Index) -> tuple[str, ...]:
    """One of those that stand on it, if there are any: they come and go, and nobody is told of each."""
    if version in index.standing:
        return ("private disks",)
    naming = desired.uses.get(version)
    return (min(naming),) if naming else ()


def collections(desired: Desired, index: Index, before: Iterable[Step]) -> Iterator[Step]:
    """Versions that go, in a picture that is whole on both sides. ``before`` are the steps of this plan so far."""
    observed = index.observed
    if not desired.complete or not desired.day or observed.unreadable or not observed.complete >= {"pool", "lio"}:
        return
    importing = {step.action.image for step in before if isinstance(step.action, ImportImage)}
    over = [
        (name, version)
        for name, image in sorted(desired.images.items())
        if name not in importing
        for version, stay in sorted(stays(image, desired, index).items())
        if stay.until is not None and stay.until < desired.day
    ]
    left = tuple(_left(desired, index))  # whoever deleted their Image was asked then, if it was many
    below = _exported(observed) if over or left else set()
    going = [one for one in over if one not in below]
    existing = sum(map(len, observed.pool.images.values()))
    credible = guard(existing, len(going))
    held = None if credible else _GUARDED.format(len(going), existing)
    for one in going:
        yield _deletion(one, observed, frozenset({f"Image/{one[0]}"} if credible else ()), held)
    for one in left:
        if one not in below:
            yield _deletion(one, observed, frozenset(), None)


def _deletion(one: tuple[str, int], observed: Observed, owners: frozenset[str], held: str | None) -> Step:
    name, version = one
    file = observed.pool.images[name][version]
    changes = (Change(golden(name, version), f"{file.size} bytes, last used {dated(file.used)}", None),)
    return Step(DeleteVersion(name, version), owners, f"Image/{name}", changes=changes, held=held)


def _left(desired: Desired, index: Index) -> Iterator[tuple[str, int]]:
    """Versions of Images that were deleted, and are declared no more. Those of which that is not noted stay: their Image may
    be one of a store that was lost."""
    for name, versions in sorted(index.observed.pool.images.items()):
        if name in desired.images or name in desired.leaving:
            continue
        for version, file in sorted(versions.items()):
            due = file.released > 0 and max(file.released, file.used) < desired.day
            if due and not _standing((name, version), desired, index):
                yield name, version


def releases(desired: Desired, observed: Observed) -> Iterator[Step]:
    """What the pool is told of an Image that is deleted, before nobody knows of it any more, or that is declared again."""
    if "pool" not in observed.complete or "pool" in observed.unreadable:
        return
    for name, versions in sorted(observed.pool.images.items()):
        if name in observed.unreadable or (name not in desired.images and name not in desired.leaving):
            continue
        until = 0 if name in desired.images else desired.leaving[name]
        for version, file in sorted(versions.items()):
            if file.released != until:
                days = (f"{dated(day)}" if day else None for day in (file.released, until))
                changes = (Change("stays until", *days),)
                yield Step(
                    ReleaseVersion(name, version, until), frozenset({f"Image/{name}"}), f"Image/{name}", changes=changes
                )


def notes(desired: Desired, observed: Observed) -> Iterator[Step]:
    """Versions that read-only PCs stand on today: nothing else in the pool would tell of that use."""
    if "pool" not in observed.complete or observed.unreadable:
        return
    due = {
        (name, version): file.used
        for name in desired.images
        for version, file in observed.pool.images.get(name, {}).items()
        if 0 < file.used < desired.day
    }
    for name, version in sorted(_exported(observed, whole=False) & due.keys()) if due else ():
        moved = Change("last used", f"{dated(due[name, version])}", f"{dated(desired.day)}")
        yield Step(NoteUse(name, version), frozenset(), f"Image/{name}", changes=(moved,))


def _exported(observed: Observed, *, whole: bool = True) -> set[tuple[str, int]]:
    """The versions that targets stand on: as such, and with ``whole`` also below a private disk."""
    found = set()
    for state in observed.targets.values():
        for name in exported(state.facts):
            if image := parse_golden(name):
                found.add(image)
            elif whole and (overlay := OverlayName.parse(name)):
                found.add((overlay.image, overlay.version))
    return found
