"""The planner of LIO targets: publish what is wanted, withdraw what is not, cut nobody who did not ask for it."""

from collections.abc import Iterator, Sequence

from controller.core.cases import Case
from controller.core.choice import Disk
from controller.core.index import Index
from controller.core.names import script
from controller.core.steps import Change, Effect, PublishTarget, Step, WithdrawTarget
from controller.core.targets import asks, difference, facts


def publications(cases: Sequence[Case]) -> Iterator[Step]:
    """Targets that are not as they must be. What waits for a running PC is held; what can be mended under it is not."""
    for case in cases:
        if not isinstance(case.disk, Disk) or not case.changes:
            continue
        if case.repair:
            wrong = difference(facts(case.repair), case.facts)
            yield Step(PublishTarget(case.repair), case.owners, "drift", changes=wrong)
        yield Step(
            PublishTarget(case.disk.target, cut=bool(case.cuts) and case.live and case.client.disruption),
            case.owners,
            case.cause,
            effect=_effect(case),
            changes=case.changes,
            held=case.waits,
        )


def releases(cases: Sequence[Case]) -> Iterator[Step]:
    """Targets that stand on a file that somebody removed, before another file takes its name: after that, nobody could
    tell that the kernel still holds the first. And those on a snapshot that ran full, which must be closed to be mended."""
    for case in cases:
        if case.lost and isinstance(case.disk, Disk):
            yield Step(
                WithdrawTarget(case.iqn, cut=case.live and case.client.disruption),
                case.owners,
                case.cause,
                effect=_effect(case),
                changes=tuple(
                    Change(case.iqn, f"{part.exported} ({'deleted' if part.create else 'full'})", None)
                    for part in case.renewed
                ),
                held=case.waits,
            )


def _effect(case: Case) -> Effect:
    if case.cuts and case.live:
        asked = all(asks(case.client.initiator, change) for change in case.cuts)
        return Effect.NEXT_BOOT if asked else Effect.DISRUPTIVE
    moved = any(change.field.endswith("/path") and change.before for change in case.changes)
    return Effect.NEXT_BOOT if moved else Effect.NONE


def withdrawals(cases: Sequence[Case], index: Index) -> Iterator[Step]:
    """Targets of machines that boot their local disk, once no script leads to them."""
    for case in cases:
        if not case.withdraws or case.state is None or case.blind or (case.gone and not _pruned(index)):
            continue
        yield Step(
            WithdrawTarget(case.iqn, cut=case.live and case.client.disruption),
            case.owners,
            case.cause,
            effect=Effect.DISRUPTIVE if case.live else Effect.NONE,
            changes=(Change(case.iqn, ", ".join(case.exported) or "half-made", None),),
            held=case.suspended or case.in_use or _advertised(case, index),
        )


def _pruned(index: Index) -> bool:
    """A target of nobody's goes only if all targets and all scripts are known."""
    return index.observed.complete >= {"lio", "tftp"}


def _advertised(case: Case, index: Index) -> str | None:
    paths = [script(mac.hyphens) for mac in case.client.macs] or [case.iqn]
    blind = next((reason for path in paths if (reason := index.blind("tftp", path))), None)
    return f"whether a boot script still leads here could not be read: {blind}" if blind else None
