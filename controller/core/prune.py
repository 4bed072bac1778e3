"""What is ours and that nobody asks for: found by its name alone, and only in a picture that is whole on both sides."""

from collections.abc import Iterator

from controller.core.index import Index
from controller.core.names import SYSTEM_DISK, Site
from controller.core.world import Client, Desired

FLOOR = 5
SHARE = 10  # per cent


def guard(existing: int, deletions: int) -> bool:
    """Whether so many deletions at once are credible: at most 5 or a tenth, whichever is more. More is a mistake until
    an operator says otherwise."""
    return deletions <= max(FLOOR, existing * SHARE // 100)


def gone(desired: Desired, index: Index, site: Site) -> Iterator[tuple[Client, str]]:
    """Machines of which something of ours is left though no object asks for it, with the disk, by name.

    A disk of a known machine that is not its system disk is such a thing. What was let go in place is not.
    """
    if not desired.complete:
        return
    known = {site.target(machine) for machine in desired.clients}
    left = {(machine, SYSTEM_DISK) for machine in index.scripts.keys() - desired.clients.keys()}
    left |= index.overlays.keys()
    left |= {owned for iqn in index.observed.targets.keys() - known if (owned := site.parse_target(iqn))}
    for machine, disk in sorted(left):
        if machine not in desired.orphans and (disk != SYSTEM_DISK or machine not in desired.clients):
            yield Client(machine, macs=(), initiator=site.initiator(machine), portal=None), disk
