"""``plan(desired, observed)``: the steps from what is there to what is wanted, in the one order that is always safe.

A disk is there before its target, a target before its script, a script before DHCP leads to it; what goes, goes the
other way round. Between any two steps a PC may boot: it gets its disk whole, or falls to its local one.
"""

from dataclasses import replace

from controller.core import bootfiles, commits, dhcp, disks, exports, pressure, retention
from controller.core.cases import examine
from controller.core.choice import Missing, full
from controller.core.desired import Desired
from controller.core.index import Index
from controller.core.names import Site
from controller.core.observed import Observed
from controller.core.steps import DeleteBootFile, Plan


def same(one: Observed, other: Observed) -> bool:
    """Whether there is nothing to plan or to tell in the one that was not in the other: only how many bytes are free may
    differ, not whether they are enough."""
    spaceless = (replace(seen, pool=replace(seen.pool, free=0, total=0)) for seen in (one, other))
    if next(spaceless) != next(spaceless) or (full(one) is None) != (full(other) is None):
        return False
    return (pressure.pool(one) is None) == (pressure.pool(other) is None)


def plan(desired: Desired, observed: Observed, site: Site) -> Plan:
    """Pure, total, deterministic. Held steps are in it to be shown; ``Plan.due`` is what may be done."""
    index = Index.of(observed)
    cases = tuple(examine(desired, index, site))
    first = tuple(bootfiles.withdrawals(cases, index, site))
    withdrawn = frozenset(step.action.path for step in first if isinstance(step.action, DeleteBootFile))
    builds = (
        *first,
        *disks.imports(desired, index),
        *retention.notes(desired, observed),
        *retention.releases(desired, observed),
        *exports.releases(cases),
        *disks.creations(cases),
        *exports.publications(cases),
        *bootfiles.constants(desired, observed),
        *bootfiles.writes(cases, index, site, withdrawn),
    )
    leaving = tuple(exports.withdrawals(cases, index))
    busy = frozenset(owner for step in builds if step.held is None for owner in step.owners)
    return Plan(
        (
            *builds,
            *dhcp.loads(desired, observed, busy, site),
            *bootfiles.clearings(cases, desired, index, withdrawn),
            *leaving,
            *disks.deletions(cases, desired, index, leaving),
            *commits.copies(cases, index, leaving),
            *retention.collections(desired, index, builds),
            *disks.spent(desired, index),
        ),
        {case.session: case.disk.message for case in cases if case.session and isinstance(case.disk, Missing)},
    )
