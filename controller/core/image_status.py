"""What was observed of an Image: its versions, where its channels point, and what is in its source's way."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from controller.core import disks, phases, pressure, resolve
from controller.core.desired import Desired, Golden
from controller.core.index import Index
from controller.core.observed import ImageFile, SourceFile
from controller.core.phases import Progress
from controller.core.retention import Stay, dated, stays
from controller.core.steps import DeleteVersion, Outcome, ReleaseVersion, Step, Underway
from controller.core.verdicts import Remark, judge, status_of
from manifests.image import ChannelStatus, Image, ImageStatus, ImageVersion


def tell(
    one: Image, desired: Desired, index: Index, steps: Sequence[Step], outcome: Outcome | None, now: datetime
) -> ImageStatus:
    """``steps`` are those left for it, ``outcome`` the worst of this pass. No version that goes makes it less ready."""
    left = [step for step in steps if not isinstance(step.action, DeleteVersion | ReleaseVersion)]
    pool, wanted = index.observed.pool, resolve.golden(one)
    versions, source = pool.images.get(one.name, {}), pool.sources.get(one.name)
    newest = versions[max(versions)] if versions else None
    missing = _missing(wanted, source, versions)
    if not left and newest is None and missing is None:
        missing = ("NotImported", f"source {wanted.label} is not imported yet")
    done = ("Imported", _newest(newest) if newest else "")
    verdict = judge(left, [outcome], blind=index.blind("pool", one.name), missing=missing, done=done)
    phase = phases.IMAGE[verdict.progress]
    if verdict.progress is Progress.WORK and isinstance(outcome, Underway):
        phase = outcome.phase
    if verdict.progress is Progress.MISSING and source is not None:
        phase = "Failed"
    why = stays(wanted, desired, index)
    facts = {
        "version": newest.version if newest else None,
        "sha256": newest.sha256 if newest else None,
        "size": newest.size if newest else None,
        "versions": tuple(_version(versions[v], why[v]) for v in sorted(versions)),
        "channels": {name: _channel(one, name, v, now) for name, v in sorted(wanted.channels.items())},
    }
    remarks = (_pressure(index, versions, why),)
    return status_of(ImageStatus, one.status, one.metadata, phase, verdict, facts, now, remarks)


def _newest(found: ImageFile) -> str:
    return f"v{found.version} is the newest{f'; {found.remark}' if found.remark else ''}"


def _missing(wanted: Golden, source: SourceFile | None, versions: Mapping[int, ImageFile]) -> tuple[str, str] | None:
    if source is None or (source.problem is not None and not disks.made(wanted, source, versions)):
        return "SourceUnusable", f"source {wanted.label}: {source.problem if source else 'it was not looked at yet'}"
    nowhere = [f"{name} at v{v}" for name, v in sorted(wanted.channels.items()) if v not in versions]
    if nowhere and versions:
        has = ", ".join(f"v{v}" for v in sorted(versions))
        return "NoSuchVersion", f"{', '.join(nowhere)}: there is no such version, only {has}: change spec.channels"
    return None


def _pressure(index: Index, versions: Mapping[int, ImageFile], why: Mapping[int, Stay]) -> Remark:
    """What collecting would give back to a pool that needs room. It happens no sooner for that."""
    going = {version: stay.until for version, stay in sorted(why.items()) if stay.until is not None}
    said = None
    if going and pressure.pool(index.observed):
        names, freed = ", ".join(f"v{version}" for version in going), sum(versions[v].taken for v in going)
        said = f"the pool is nearly full: collecting {names} would free up to {freed >> 20} MiB, which happens after"
        said += f" {dated(max(going.values()))}: for sooner, lower spec.retention.unused"
    return Remark(pressure.DISK, "NearlyFull", said)


def _version(found: ImageFile, stay: Stay) -> ImageVersion:
    return ImageVersion(
        version=found.version,
        sha256=found.sha256,
        size=found.size,
        made_at=datetime.fromtimestamp(found.made_ns / 1e9, UTC) if found.made_ns else None,
        made_by=found.author,
        parent=found.parent,
        comment=found.comment,
        last_used=dated(found.used) if found.used else None,
        kept_by=stay.reasons,
        collected_after=dated(stay.until) if stay.until is not None else None,
        format=found.format,
        remark=found.remark,
        layers=found.layers,
    )


def _channel(one: Image, name: str, version: int, now: datetime) -> ChannelStatus:
    """As it was told before, unless it points elsewhere now."""
    before = one.status.channels.get(name) if one.status else None
    if before is not None and before.version == version:
        return before
    return ChannelStatus(version=version, previous=before.version if before else None, since=now)
