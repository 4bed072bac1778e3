"""Commits: a kept disk becomes the next version of its image, once nothing exports it any more.

What is asked for lies on the Session until it is done or cannot be done, and the version that it makes carries the request's
identity: so a process that knows nothing goes on with it, and never does it twice. Until then the session does not run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from controller.core import resolve
from controller.core.cases import Case
from controller.core.choice import Missing
from controller.core.desired import Commit
from controller.core.disks import is_of, used
from controller.core.index import Index
from controller.core.names import OverlayName
from controller.core.observed import ImageFile, Observed, OverlayState
from controller.core.steps import Change, CommitOverlay, Step, WithdrawTarget
from manifests.session import Session


@dataclass(frozen=True, slots=True)
class Made:
    """It is done: this is the version."""

    version: int


def judge(commit: Commit, machine: str, index: Index) -> OverlayName | Made | Missing | None:
    """What is to be copied, what was made, or why it never will be; None where that cannot be told now."""
    observed = index.observed
    if "pool" not in observed.complete or index.blind("pool", commit.image) or machine in index.unread:
        return None
    versions = observed.pool.images.get(commit.image, {})
    if made := _made(commit, versions):
        return Made(made.version)
    name = next((o for o in index.overlays.get(machine, ()) if is_of(o, commit)), None)
    if name is None:
        said = f"nothing is kept of disk {commit.disk} on v{commit.base} of Image/{commit.image}: there is nothing to commit"
        return Missing("NothingKept", said)
    if not versions or max(versions) != commit.base:
        newest = f"v{max(versions)}" if versions else "none"
        said = (
            f"disk {commit.disk} stands on v{commit.base} of Image/{commit.image}, whose newest version is {newest}:"
            " only what stands on the newest can be committed"
        )
        return Missing("BaseNotNewest", said)
    state = observed.pool.overlays[str(name)].state
    if state not in (OverlayState.READY, OverlayState.INACTIVE):
        return Missing("DiskNotWhole", f"{name} is {state}: it cannot be read as a whole disk")
    return name


def _made(commit: Commit, versions: Mapping[int, ImageFile]) -> ImageFile | None:
    return next((one for one in versions.values() if one.identity == commit.identity), None)


def copies(cases: Sequence[Case], index: Index, leaving: Iterable[Step]) -> Iterator[Step]:
    """``leaving`` are this plan's withdrawals: a commit comes after its target has gone, and of one image one at a time.

    An import that is due holds none: it may be due for days because its source is of no use. Who makes them takes turns."""
    busy: set[str] = set()
    waits = {step.action.iqn: step.held for step in leaving if isinstance(step.action, WithdrawTarget)}
    for case in cases:
        for commit in case.client.commits:
            name = judge(commit, case.client.machine, index)
            if not isinstance(name, OverlayName):
                continue
            held = case.suspended or case.blind
            if name.exported in case.exported:
                held = held or waits.get(case.iqn, f"{case.iqn} still stands on it")
            if held is None and commit.image in busy:
                held = f"another disk is being committed to Image/{commit.image}"
            busy.add(commit.image)
            yield _step(commit, name, index, held)


def _step(commit: Commit, name: OverlayName, index: Index, held: str | None) -> Step:
    file, key = index.observed.pool.overlays[str(name)], f"Session/{commit.session}"
    version = max(commit.base, used(commit.image, index)) + 1
    action = CommitOverlay(
        name,
        version,
        commit.identity,
        commit.session,
        limit=file.limit,
        durable=bool(file.durable),
        author=commit.author,
        comment=commit.comment,
    )
    changes = (Change("version", f"v{commit.base}", f"v{version}"),)
    return Step(action, frozenset({key}), key, changes=changes, held=held)


def verdict(one: Session, observed: Observed) -> tuple[Literal["Normal", "Warning"], str, str] | None:
    """How its commit ended: type, reason and message of an event. None while it is still to be done, or without one."""
    commit = resolve.commit(one)
    if commit is None:
        return None
    match judge(commit, one.spec.machine, Index.of(observed)):
        case Made(version):
            return "Normal", "Committed", f"disk {commit.disk} was committed as {commit.image}@v{version}"
        case Missing(reason, message):
            return "Warning", reason, f"not committed: {message}"
        case _:
            return None
