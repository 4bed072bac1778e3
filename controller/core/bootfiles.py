"""The planner of the TFTP tree. A script of ours never stands while the target that it names does not.

So scripts leave before their target is rebuilt or withdrawn, and come only after it is whole. A wanted path is ours by
its name, whatever was put there; an unwanted one only if it carries our mark.
"""

from collections.abc import Iterator, Mapping, Sequence

from controller.core import scripts
from controller.core.cases import Case
from controller.core.choice import Disk, Missing
from controller.core.desired import Desired
from controller.core.index import Index
from controller.core.names import BOOT_FOLDER, BOOT_SCRIPT, Site, script
from controller.core.observed import Observed
from controller.core.render import ipxe
from controller.core.scripts import sha256
from controller.core.steps import Change, DeleteBootFile, Effect, Step, WriteBootFile
from controller.core.targets import leads_somewhere


def wanted(case: Case, site: Site) -> Mapping[str, str]:
    """The scripts of one machine, path -> text: one for each of its cards."""
    if not isinstance(case.disk, Disk):
        return {}
    text = scripts.text(site, case.disk.target)
    return {script(mac.hyphens): text for mac in case.client.macs}


def withdrawals(cases: Sequence[Case], index: Index, site: Site) -> Iterator[Step]:
    """Scripts whose target is about to be taken apart, or that lead to nothing that can be repaired."""
    for case in cases:
        if case.scripts and not case.gone and _leaves(case, index, site):
            effect = Effect.NONE if isinstance(case.disk, Disk) else Effect.NEXT_BOOT
            for path in case.scripts:
                yield _delete(case, path, index, effect)


def _leaves(case: Case, index: Index, site: Site) -> bool:
    match case.disk:
        case None:
            return case.withdraws and not _unheard(case)
        case Missing():
            return not case.blind and not leads_somewhere(case.facts)
        case Disk():
            if not case.publishes or not leads_somewhere(case.facts):
                return False
            return bool(case.cuts) or any(_differs(path, text, index) for path, text in _standing(case, site))


def _unheard(case: Case) -> bool:
    """DHCP is to know this machine no more; until it does not, its script stays, for a PC may be on its way to it."""
    return not case.client.hosts


def _standing(case: Case, site: Site) -> Iterator[tuple[str, str | None]]:
    texts = wanted(case, site)
    for path in case.scripts:
        yield path, texts.get(path)


def _differs(path: str, text: str | None, index: Index) -> bool:
    found = index.observed.boot.get(path)
    return text is None or found is None or found.sha256 != sha256(text)


def writes(cases: Sequence[Case], index: Index, site: Site, withdrawn: frozenset[str]) -> Iterator[Step]:
    for case in cases:
        for path, text in wanted(case, site).items():
            if index.blind("tftp", path) or (path not in withdrawn and not _differs(path, text, index)):
                continue
            held = case.suspended
            if not held and not case.whole:
                held = f"its target cannot be read: {case.blind}" if case.blind else case.waits
            found = index.observed.boot.get(path) if path not in withdrawn else None
            change = Change(path, found.sha256[:12] if found else None, sha256(text)[:12])
            yield Step(WriteBootFile(path, text=text), case.owners, case.cause, changes=(change,), held=held)


def clearings(cases: Sequence[Case], desired: Desired, index: Index, withdrawn: frozenset[str]) -> Iterator[Step]:
    """Scripts of machines that are gone, and of cards that a machine no longer has."""
    left = [(case, path) for case in cases for path in _left(case, index) if path not in withdrawn]
    if not left:
        return
    asked = {script(mac.hyphens) for client in desired.clients.values() if client.boot for mac in client.macs}
    for case, path in left:
        if path not in asked:
            yield _delete(case, path, index, Effect.NEXT_BOOT)


def _left(case: Case, index: Index) -> Sequence[str]:
    if not case.scripts or case.orphan:
        return ()
    if case.gone:
        return case.scripts if "tftp" in index.observed.complete else ()
    if case.withdraws and _unheard(case):
        return case.scripts
    cards = {script(mac.hyphens) for mac in case.client.macs}
    return [path for path in case.scripts if path not in cards]


def _delete(case: Case, path: str, index: Index, effect: Effect) -> Step:
    change = Change(path, index.observed.boot[path].sha256[:12], None)
    return Step(DeleteBootFile(path), case.owners, case.cause, effect, (change,), case.suspended)


def constants(desired: Desired, observed: Observed) -> Iterator[Step]:
    """The one script that all machines begin with, and the network boot programs, if they are not as they must be."""
    boot = ipxe.boot_script()
    yield from _constant(desired, observed, sha256(boot), WriteBootFile(BOOT_SCRIPT, text=boot))
    for name, digest in sorted(observed.nbps.items()):
        yield from _constant(desired, observed, digest, WriteBootFile(f"{BOOT_FOLDER}/{name}", nbp=name))


def _constant(desired: Desired, observed: Observed, digest: str, write: WriteBootFile) -> Iterator[Step]:
    path = write.path
    found = observed.boot.get(path)
    known = found is not None or "tftp" in observed.complete
    if not known or path in observed.unreadable or "tftp" in observed.unreadable or (found and found.sha256 == digest):
        return
    subnets = desired.dhcp.subnets if desired.dhcp else ()
    networks = frozenset(f"Network/{s.name}" for s in subnets)
    cause = "drift" if any(s.settled for s in subnets) else min(networks, default="Server/this")
    change = Change(path, found.sha256[:12] if found else None, digest[:12])
    yield Step(write, networks, cause, changes=(change,))
