"""``plan(desired, observed)``: the steps from what is there to what is wanted, in the one order that is always safe.

A disk is there before its target, a target before its script, a script before DHCP leads to it; what goes, goes the
other way round. Between any two steps a PC may boot: it gets its disk whole, or falls to its local one.
"""

from collections.abc import Collection

from controller.core import bootfiles, dhcp, disks, exports
from controller.core.cases import examine
from controller.core.index import Index
from controller.core.names import Site
from controller.core.steps import DeleteBootFile, LoadDhcp, Plan, Step
from controller.core.world import Desired, Observed


def plan(desired: Desired, observed: Observed, site: Site) -> Plan:
    """Pure, total, deterministic. Held steps are in it to be shown; ``Plan.due`` is what may be done."""
    index = Index.of(observed)
    cases = tuple(examine(desired, index, site))
    first = tuple(bootfiles.withdrawals(cases, index, site))
    withdrawn = frozenset(step.action.path for step in first if isinstance(step.action, DeleteBootFile))
    return Plan(
        (
            *first,
            *disks.imports(desired, index),
            *disks.creations(cases),
            *exports.publications(cases),
            *bootfiles.constants(desired, observed),
            *bootfiles.writes(cases, index, site, withdrawn),
            *dhcp.loads(desired, observed),
            *bootfiles.clearings(cases, index, site, withdrawn),
            *exports.withdrawals(cases, index),
            *disks.deletions(cases, desired, index),
        )
    )


def blocker(step: Step, bad: Collection[str]) -> str | None:
    """The owner for whose sake ``step`` must not be tried, given the owners of steps that did not end well.

    One bad owner blocks a step, but not the one DHCP load that all machines share: it leads nobody to a disk by
    itself, and one poisoned machine must not keep the others from an address.
    """
    hit = sorted(step.owners.intersection(bad))
    if not hit or (isinstance(step.action, LoadDhcp) and len(hit) < len(step.owners)):
        return None
    return hit[0]
