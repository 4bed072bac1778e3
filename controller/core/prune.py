"""What is ours and that nobody asks for: found by its name alone, and only in a picture that is whole on both sides."""

from collections.abc import Iterator

from controller.core.desired import Client, Desired
from controller.core.index import Index
from controller.core.names import SYSTEM_DISK, Site

FLOOR = 5
SHARE = 10  # per cent


def guard(existing: int, deletions: int) -> bool:
    """Whether so many deletions at once are credible: at most 5 or a tenth, whichever is more. More is a mistake until
    an operator says otherwise."""
    return deletions <= max(FLOOR, existing * SHARE // 100)


def gone(desired: Desired, index: Index, site: Site) -> Iterator[tuple[Client, str]]:
    """Machines of which something of ours is left though no object asks for it, with the disk that a target is named
    after, by name.

    A target of a known machine that is not named after its system disk is such a thing. What was let go in place is not.
    """
    if not desired.complete:
        return
    known = {site.target(machine) for machine in desired.clients}
    left = {(machine, SYSTEM_DISK) for machine in (index.scripts.keys() | index.overlays.keys()) - desired.clients.keys()}
    left |= {owned for iqn in index.observed.targets.keys() - known if (owned := site.parse_target(iqn))}
    for machine, disk in sorted(left):
        if machine not in desired.orphans:
            yield Client(machine, macs=(), initiator=site.initiator(machine), portal=None), disk
