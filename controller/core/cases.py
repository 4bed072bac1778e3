"""One machine's case: what it must be served beside what was found, judged once for all planners.

A machine that nobody asks for any more, but of which something of ours is left, is a case too: a client with no disk.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.core.choice import SECTOR, Disk, Missing, Part, choose
from controller.core.desired import Client, Desired, Target
from controller.core.index import Index
from controller.core.names import SYSTEM_DISK, OverlayName, Site, overlay_path, script, session_of
from controller.core.observed import Login, OverlayState, TargetState
from controller.core.prune import gone
from controller.core.scripts import digest
from controller.core.steps import Change
from controller.core.targets import cutting, difference, exported, facts, place, right, serves, standing
from manifests.types import Iqn


@dataclass(frozen=True, slots=True)
class Case:
    """``disk`` None: the machine boots its local disk. ``changes`` is what differs from the target that is wanted.

    ``blind`` says why the target could not be read: then nothing is known of it, least of all that it is not there.
    ``cuts`` are those of the changes that a logged-in PC would feel; while they wait, ``repair`` is the target as it
    stands, if that needs mending. ``orphan`` is what was let go in place, ``gone`` what no object asks for.
    """

    client: Client
    iqn: Iqn
    disk: Disk | Missing | None
    state: TargetState | None
    scripts: tuple[str, ...]
    overlays: tuple[OverlayName, ...]
    blind: str | None
    gone: bool = False
    orphan: bool = False
    changes: tuple[Change, ...] = ()
    cuts: tuple[Change, ...] = ()
    repair: Target | None = None

    @property
    def facts(self) -> Mapping[str, str]:
        return self.state.facts if self.state else {}

    @property
    def exported(self) -> tuple[str, ...]:
        """The last segments of the paths that the standing target exports."""
        return exported(self.facts)

    @property
    def live(self) -> bool:
        """Somebody is logged in, or that cannot be told."""
        return self.state is not None and self.state.login is not Login.NONE

    @property
    def machine(self) -> str:
        return f"Machine/{self.client.machine}"

    @property
    def session(self) -> str | None:
        """The session that runs, or the one that the standing target was made for."""
        if self.client.boot:
            return f"Session/{self.client.boot.session}"
        names = (self.client.idle.get(uid) for one in self.exported if (uid := session_of(one)))
        return next((f"Session/{name}" for name in names if name), None)

    @property
    def owners(self) -> frozenset[str]:
        if self.session:
            return frozenset({self.machine, self.session})
        unnamed = self.client.idle.values() if self.state and not any(map(session_of, self.exported)) else ()
        return frozenset({self.machine, *(f"Session/{name}" for name in unnamed)})

    def owners_of(self, overlay: OverlayName) -> frozenset[str]:
        boot = self.client.boot
        name = boot.session if boot and boot.uid == overlay.uid else self.client.idle.get(overlay.uid)
        return frozenset({self.machine, f"Session/{name}"} if name else {self.machine})

    @property
    def cause(self) -> str:
        return "drift" if self.client.settled else self.session or min(self.owners - {self.machine}, default=self.machine)

    @property
    def suspended(self) -> str | None:
        """Of what runs, or of the session that does not run any more and whose target stands still."""
        boot = self.client.boot
        if boot is None and self.session in self.client.resting:
            return f"suspended: ggnet resume {self.session}"
        if not self.client.paused:
            return None
        return f"suspended: ggnet resume {f'Session/{boot.session}' if boot and boot.paused else self.machine}"

    @property
    def in_use(self) -> str | None:
        """Why what cuts must wait; None when nobody is logged in, or somebody asked for the cut by name."""
        if not self.live or self.client.disruption:
            return None
        assert self.state is not None
        name, peer = self.client.machine, self.state.peer
        remedy = f"shut it down, or annotate {self.machine} with ggnet/disruption=allowed to cut its disk"
        if self.state.login is Login.UNKNOWN:
            return f"whether {name} is logged in could not be read, so it counts as running: {remedy}"
        return f"{name} is running on this disk{f' from {peer}' if peer else ''}: {remedy}"

    @property
    def lost(self) -> bool:
        """The target stands on a file that is no longer in the pool: the kernel keeps the deleted one, and only a target
        that is made anew opens another. So it is with a snapshot that takes no more writes."""
        return bool(self.renewed)

    @property
    def renewed(self) -> tuple[Part, ...]:
        """Those of its disks that the standing target must let go first."""
        if not isinstance(self.disk, Disk):
            return ()
        return tuple(part for part in self.disk.parts if part.renewed and part.exported in self.exported)

    @property
    def waits(self) -> str | None:
        """Why the target that is wanted cannot be made now."""
        return self.suspended or (self.in_use if self.cuts else None)

    @property
    def publishes(self) -> bool:
        """Whether this plan brings the target to its facts."""
        return isinstance(self.disk, Disk) and bool(self.changes) and self.waits is None

    @property
    def whole(self) -> bool:
        """Whether a script that names the wanted target leads to a disk, now or after this plan's own repair."""
        if not isinstance(self.disk, Disk) or self.blind:
            return False
        wanted = self.disk.target
        if self.repair and (self.repair.initiator, self.repair.portal) == (wanted.initiator, wanted.portal):
            return True
        if self.publishes or not self.changes:
            return True
        locked = wanted.chap is None and self.facts.get("tpg/attrib/authentication") != "0"
        return serves(self.facts, wanted.initiator, wanted.portal) and not locked

    @property
    def withdraws(self) -> bool:
        """Whether nothing is served here any more."""
        return self.disk is None and not self.orphan


def examine(desired: Desired, index: Index, site: Site) -> Iterator[Case]:
    """Every machine that is not just as it is asked for, or of which something is left that nobody asks for."""
    for client in desired.clients.values():
        if not _quiet(client, index, site):
            yield case_of(client, desired, index, site)
    for client, left in gone(desired, index, site):
        yield _case(client, left, None, desired, index, site, gone=True)


def case_of(client: Client, desired: Desired, index: Index, site: Site) -> Case:
    boot = client.boot
    chosen = choose(client, boot, desired.images, index, site) if boot else None
    return _case(client, SYSTEM_DISK, chosen, desired, index, site)


def _quiet(client: Client, index: Index, site: Site) -> bool:
    """Whether there can be nothing to do: a short way for what nearly every machine is in nearly every sweep.

    It says no whenever it is not sure; then the long way is taken, which comes to the same.
    """
    observed, boot = index.observed, client.boot
    overlays = index.overlays.get(client.machine, ())
    iqn = site.target(client.machine)
    state = observed.targets.get(iqn)
    if boot is None or observed.unreadable:
        return not (state or overlays or observed.unreadable or client.machine in index.scripts)
    if state is None or len(overlays) != 1 or client.portal is None or len(boot.drives) != 1:
        return False
    if client.credential is not None or client.proven is not None:
        return False
    overlay, drive = overlays[0], boot.drives[0]
    if drive.persistence != "ephemeral" or (drive.name, overlay.disk) != (SYSTEM_DISK, SYSTEM_DISK):
        return False
    if overlay.uid != boot.uid or overlay.image != drive.image or drive.pin not in (None, overlay.version):
        return False
    there = observed.pool.overlays[str(overlay)]
    if there.state is not OverlayState.READY or there.durable or (there.limit or drive.limit or 0) < (drive.limit or 0):
        return False
    path, size = overlay_path(observed.pool_dir, overlay), there.size
    serial = site.serial(client.machine)
    if size % SECTOR or not right(state.facts, client.machine, serial, path, size, client.initiator, client.portal):
        return False
    wanted, boot_files = digest(site, client.machine, client.initiator, client.portal, iqn), observed.boot
    if len(index.scripts.get(client.machine, ())) != len(client.macs):
        return False
    for mac in client.macs:
        file = boot_files.get(script(mac.hyphens))
        if file is None or file.sha256 != wanted:
            return False
    return True


def _case(
    client: Client,
    disk: str,
    chosen: Disk | Missing | None,
    desired: Desired,
    index: Index,
    site: Site,
    *,
    gone: bool = False,
) -> Case:
    iqn = site.target(client.machine, disk)
    state, blind = index.observed.targets.get(iqn), index.blind("lio", iqn)
    changes, cuts, repair = _compare(client, chosen, state) if isinstance(chosen, Disk) and not blind else ((), (), None)
    return Case(
        client=client,
        iqn=iqn,
        disk=chosen,
        state=state,
        scripts=index.scripts.get(client.machine, ()) if disk == SYSTEM_DISK else (),
        overlays=index.overlays.get(client.machine, ()) if disk == SYSTEM_DISK else (),
        blind=blind,
        gone=gone,
        orphan=client.boot is None and (client.orphan or client.machine in desired.orphans) and not _known(client, state),
        changes=changes,
        cuts=cuts,
        repair=repair,
    )


def _known(client: Client, state: TargetState | None) -> bool:
    """Whether the standing target was made for a session that we still have, which thus was not let go."""
    return state is not None and any(session_of(one) in client.idle for one in exported(state.facts))


def _compare(
    client: Client, disk: Disk, state: TargetState | None
) -> tuple[tuple[Change, ...], tuple[Change, ...], Target | None]:
    wanted, found = facts(disk.target), state.facts if state else {}
    if any(part.renewed and found.get(f"{place(part.lun.backstore)}/path") == part.lun.path for part in disk.parts):
        changes = difference(wanted, {})
        return changes, changes, None
    if found == wanted:
        return (), (), None
    changes = difference(wanted, found)
    cuts = cutting(client.initiator, changes, trusted=_trusted(client, disk.target))
    held = state is not None and state.login is not Login.NONE and not client.disruption and not client.paused
    return changes, cuts, _mend(client, disk.target, found) if cuts and held else None


def _mend(client: Client, wanted: Target, found: Mapping[str, str]) -> Target | None:
    """The standing target, if something about it needs mending that a running PC does not feel."""
    target = standing(wanted, found)
    wrong = difference(facts(target), found) if target else ()
    if target is None or not wrong or cutting(target.initiator, wrong, trusted=_trusted(client, target)):
        return None
    return target


def _trusted(client: Client, target: Target) -> bool:
    """Whether a PC that is logged in knows what this target asks for."""
    return client.proven == (target.chap.digest if target.chap else None)
