"""What was observed, object by object. Ready is True only if nothing is left to do for an object and all of it was read."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from controller.core import dhcp, disk_status, image_status, phases, pressure, resolve
from controller.core.cases import Case, case_of
from controller.core.choice import Disk, Missing
from controller.core.desired import Client, Desired, DhcpConfig
from controller.core.index import Index
from controller.core.names import OverlayName, Site, script, session_of
from controller.core.newest import newest
from controller.core.observed import Login, Observed
from controller.core.phases import Phase, Progress
from controller.core.pressure import Pressed
from controller.core.render import dhcpd
from controller.core.steps import Effect, LoadDhcp, Outcome, Plan, Step
from controller.core.targets import asks, exported, leads_somewhere, serves
from controller.core.verdicts import Remark, Verdict, judge, status_of
from manifests.image import Image
from manifests.kinds import Object
from manifests.machine import Machine, MachineStatus
from manifests.meta import Status
from manifests.network import Network, NetworkStatus
from manifests.session import DiskStatus, Session, SessionStatus


def statuses(
    objects: Iterable[Object],
    desired: Desired,
    observed: Observed,
    plan: Plan,
    outcomes: Mapping[str, Outcome],
    now: datetime,
    site: Site,
) -> Mapping[str, Status]:
    """The status of each of ``objects`` that this server answers for, by key; the very one it has when it is unchanged.

    ``observed`` and ``plan`` are of after the pass, ``outcomes`` the worst of the pass by owner.
    """
    everything = tuple(objects)
    left: dict[str, list[Step]] = defaultdict(list)
    for step in plan.steps:
        for owner in step.owners:
            left[owner].append(step)
    loads = (step for step in plan.steps if isinstance(step.action, LoadDhcp) and step.effect is Effect.NONE)
    load = next(loads, None)  # what waits for one PC is that machine's affair alone
    teller = Teller(desired, Index.of(observed), site, now, left, load, outcomes)
    machines = {one.name: one for one in everything if isinstance(one, Machine)}
    told: dict[str, Status] = {}
    for one in sorted(everything, key=_machine):
        match one:
            case Machine() if not resolve.elsewhere(one, site):
                told[one.key] = teller.machine(one)
            case Session():
                on = machines.get(one.spec.machine)
                if on is None or not resolve.elsewhere(on, site):
                    told[one.key] = teller.session(one)
            case Image():
                told[one.key] = image_status.tell(
                    one, teller.desired, teller.index, teller.left.get(one.key, ()), outcomes.get(one.key), now
                )
            case Network():
                told[one.key] = teller.network(one)
            case Machine():
                pass
    return {one.key: told[one.key] for one in everything if one.key in told}


def _machine(one: Object) -> str:
    """So that a machine and its sessions come one after the other."""
    match one:
        case Machine():
            return one.name
        case Session():
            return one.spec.machine
        case _:
            return ""


@dataclass(frozen=True, slots=True)
class Teller:
    """One look at everything, from which each object's status is told. ``left`` are the steps left, by owner; ``cases`` has
    the case of the machine that is being told of."""

    desired: Desired
    index: Index
    site: Site
    now: datetime
    left: Mapping[str, Sequence[Step]]
    load: Step | None
    outcomes: Mapping[str, Outcome]
    cases: dict[str, Case] = field(default_factory=dict)

    def machine(self, one: Machine) -> MachineStatus:
        client = self.desired.clients.get(one.name)
        if client is None:
            verdict = judge(self._left(one.key), [self.outcomes.get(one.key)], missing=("NotServed", "not looked at yet"))
            return status_of(MachineStatus, one.status, one.metadata, "Unknown", verdict, {}, self.now)
        case = self._case(client)
        followed: Phase | None = None
        if client.boot:
            verdict = self._running(case, f"Session/{client.boot.session}")
            followed = self._phase(case, verdict)
            verdict = self._refused(client) or verdict
        else:
            verdict = self._refused(client) or self._local(one, case)
        facts = {
            "session": client.boot.session if client.boot else None,
            "address": (case.state.peer if case.state else None) or one.spec.address,
            "chap_digest": self._proven(one, case),
        }
        phase: Phase = "Unknown" if verdict.progress is Progress.BLIND else phases.machine(followed)
        return status_of(MachineStatus, one.status, one.metadata, phase, verdict, facts, self.now)

    def _proven(self, one: Machine, case: Case) -> str | None:
        """The digest of what its target asks for, once that is what is wanted; before, of what it last asked for."""
        target = case.disk.target if isinstance(case.disk, Disk) and not case.blind and case.state else None
        if target is None or any(asks(target.initiator, change) for change in case.changes):
            return one.status.chap_digest if one.status else None
        return target.chap.digest if target.chap else None

    def _local(self, one: Machine, case: Case) -> Verdict:
        said = "it boots its local disk" if one.spec.enabled else "it is switched off in its spec: it boots its local disk"
        done = ("Local" if one.spec.enabled else "Disabled", said)
        loading = self._loading(case.client)
        outcomes = [*self._outcomes(one.key), *self._loaded(loading)]
        return judge(
            [*self._left(one.key), *loading], outcomes, blind=case.blind, missing=self._unloaded(case.client), done=done
        )

    def session(self, one: Session) -> SessionStatus:
        client = self.desired.clients.get(one.spec.machine)
        runs = bool(client and client.boot and client.boot.uid == resolve.uid(one))
        if client is not None and runs:
            case = self._case(client)
            verdict = self._running(case, one.key)
            phase, facts = self._phase(case, verdict), self._served(one, case)
        else:
            verdict = self._idle(one, client)
            asked: phases.Asked = "committed" if resolve.commit(one) else "stopped"
            phase, facts = phases.SESSION[asked, verdict.progress], self._unserved(one, client)
            if phase == "Stopped" and verdict.progress is Progress.MISSING:
                phase = "Pending"
        disks = disk_status.tell(one, self.index, self.site, case.disk if runs else None)
        facts |= disk_status.boots(disks[0]) | {"disks": disks if one.spec.disks else None}
        remarks = (*pressure.remarks(self._pressed(one, disks)), _committing(one, verdict))
        return status_of(SessionStatus, one.status, one.metadata, phase, verdict, facts, self.now, remarks)

    def _pressed(self, one: Session, disks: Sequence[DiskStatus]) -> list[Pressed]:
        """Where a session has but one disk, nobody needs to be told which."""
        drives = [(drive.limit, drive.persistence == "keep") for drive in resolve.drives(one)]
        overlays = self.index.observed.pool.overlays
        files = [overlays.get(disk.overlay) if disk.overlay else None for disk in disks]
        names = [disk.name if len(disks) > 1 else "" for disk in disks]
        each = zip(names, drives, files, strict=True)
        return [Pressed(name, limit, file, kept) for name, (limit, kept), file in each]

    def _running(self, case: Case, key: str) -> Verdict:
        """How far the machine's running session is; its machine's share in DHCP belongs to it."""
        machine = case.machine
        own = [step for step in self._left(machine) if key in step.owners or not _of_a_session(step)]
        missing = self._unloaded(case.client) or self._untold(case.client)
        if isinstance(case.disk, Missing):
            missing = (case.disk.reason, case.disk.message)
        live = case.state is not None and case.state.login is not Login.NONE
        done = ("Active", "its PC is running from it") if live else ("Published", "waiting for its PC to boot")
        blind = self._blind(case)
        if blind is None and case.state is not None and case.state.login is Login.UNKNOWN and not own:
            blind = "whether its PC is logged in could not be read"
        loading = self._loading(case.client)
        outcomes = [*self._outcomes(key, machine), *self._loaded(loading)]
        return judge([*own, *loading], outcomes, blind=blind, missing=missing, done=done)

    def _idle(self, one: Session, client: Client | None) -> Verdict:
        """A session that does not run here: because that is asked, or because something is in its way."""
        steps = self._left(one.key)
        commit = resolve.commit(one)
        wanted = one.spec.state == "running" and one.metadata.deleted_at is None and not resolve.expired(one, self.now)
        asked = wanted and commit is None
        missing: tuple[str, str] | None = None
        if asked and client is None:
            missing = ("MachineMissing", f"there is no Machine/{one.spec.machine}: create it, or change spec.machine")
        elif asked and client is not None and client.boot is not None:
            missing = (
                "MachineBusy",
                f"Machine/{client.machine} already runs Session/{client.boot.session}: stop that first",
            )
        elif asked:
            missing = ("MachineDisabled", f"Machine/{one.spec.machine} is switched off or being deleted: set spec.enabled")
        blind = self._case(client).blind if client is not None and client.boot is None else None
        done = ("Stopped", "nothing is served for it")
        if one.spec.state == "running" and resolve.expired(one, self.now):
            done = ("Expired", f"its time of {one.spec.ttl} is over: stop it and start it again")
        verdict = judge(steps, self._outcomes(one.key), blind=blind, missing=missing, done=done)
        if wanted and commit is not None and verdict.progress is Progress.DONE:
            said = f"disk {commit.disk} is to be committed: it is served again when that is done"
            return Verdict(Progress.MISSING, "Committing", said)
        return verdict

    def _phase(self, case: Case, verdict: Verdict) -> Phase:
        login = case.state.login if case.state else Login.NONE
        if isinstance(case.disk, Disk):
            whole = serves(case.facts, case.disk.target.initiator, case.disk.target.portal)
        else:
            whole = leads_somewhere(case.facts)
        return phases.session("running", verdict.progress, whole=whole, login=login)

    def _served(self, one: Session, case: Case) -> dict[str, Any]:
        state = case.state
        return {
            "target": str(case.iqn),
            "lun": 0,
            "initiator": str(case.client.initiator),
            "connection": (state.login if state else Login.NONE).value,
            "started_at": (one.status.started_at if one.status else None) or self.now,
        }

    def _unserved(self, one: Session, client: Client | None) -> dict[str, Any]:
        """What is left of it; the start is remembered while it is still asked to run, or its time would begin anew."""
        uid = resolve.uid(one)
        state = self.index.observed.targets.get(self.site.target(one.spec.machine))
        mine = state if state and any(session_of(path) == uid for path in exported(state.facts)) else None
        started = one.status.started_at if one.status and one.spec.state == "running" else None
        return {
            "target": str(self.site.target(one.spec.machine)) if mine else None,
            "lun": 0 if mine else None,
            "initiator": str(client.initiator) if mine and client else None,
            "connection": mine.login.value if mine else None,
            "started_at": started,
        }

    def network(self, one: Network) -> NetworkStatus:
        external = one.spec.dhcp == "external"
        state, config = self.index.observed.dhcp, self.desired.dhcp
        loading = [self.load] if self.load and not external and one.key not in self.load.owners else []
        missing = ("DhcpProblem", state.problem) if state.problem and not external else None
        done = ("External", "somebody else answers DHCP here") if external else ("Loaded", "dhcpd answers with it")
        blind = None if external else self.index.observed.unreadable.get("dhcp")
        outcomes = [*self._outcomes(one.key), *self._loaded(loading)]
        verdict = judge([*self._left(one.key), *loading], outcomes, blind=blind, missing=missing, done=done)
        before = one.status.machines if one.status else None
        facts = {"machines": _counted(config).get(one.name, 0) if config else before}
        phase = phases.NETWORK[verdict.progress]
        return status_of(NetworkStatus, one.status, one.metadata, phase, verdict, facts, self.now)

    def _case(self, client: Client) -> Case:
        if client.machine not in self.cases:
            self.cases.clear()
            self.cases[client.machine] = case_of(client, self.desired, self.index, self.site)
        return self.cases[client.machine]

    def _blind(self, case: Case) -> str | None:
        """Why its target or one of its boot scripts could not be read."""
        paths = (script(mac.hyphens) for mac in case.client.macs)
        return case.blind or next((reason for path in paths if (reason := self.index.blind("tftp", path))), None)

    def _left(self, key: str) -> Sequence[Step]:
        return self.left.get(key, ())

    def _outcomes(self, *keys: str) -> list[Outcome | None]:
        return [self.outcomes.get(key) for key in keys]

    def _loaded(self, loading: Sequence[Step]) -> list[Outcome | None]:
        """How the load went that is left: whoever owned it in the pass, for its owners are those of what differs now."""
        if not loading or self.load is None or self.desired.dhcp is None:
            return []
        shared = {*self.load.owners, *(f"Network/{subnet.name}" for subnet in self.desired.dhcp.subnets)}
        return self._outcomes(*sorted(shared))

    def _loading(self, client: Client) -> list[Step]:
        """The load of DHCP that is left, if this machine's part in it is: by its own declaration, or because nobody has
        yet seen it served."""
        names = {host.name for host in client.hosts}
        if self.load is None or not names:
            return []
        concerned = not client.settled or any(change.field in names for change in self.load.changes)
        return [self.load] if concerned else []

    def _unloaded(self, client: Client) -> tuple[str, str] | None:
        state = self.index.observed.dhcp
        if not state.problem or not client.hosts or self._stanzas(client).items() <= state.hosts.items():
            return None
        return "DhcpProblem", state.problem

    def _untold(self, client: Client) -> tuple[str, str] | None:
        """Its PC has nobody to ask for its secret."""
        if client.credential is None or client.portal is None:
            return None
        problem = self.index.observed.closed.get(client.portal.rpartition(":")[0])
        return ("ChapDoorClosed", problem) if problem else None

    def _refused(self, client: Client) -> Verdict | None:
        refused = self.index.observed.dhcp.refused
        if not refused or not any(host.name in refused for host in client.hosts):
            return None
        texts, state = self._stanzas(client), self.index.observed.dhcp
        bad = next((name for name in sorted(texts) if dhcp.refused(name, texts[name], state)), None)
        message = f"dhcpd refused host {bad}: {refused[bad][1]}; change the machine's spec" if bad else ""
        return Verdict(Progress.MISSING, "HostRefused", message) if bad else None

    def _stanzas(self, client: Client) -> Mapping[str, str]:
        return dhcpd.stanzas(DhcpConfig(self.desired.dhcp.subnets if self.desired.dhcp else (), client.hosts))


def _committing(one: Session, verdict: Verdict) -> Remark:
    """What a commit waits for, or how far it is."""
    asked = resolve.commit(one)
    said = f"disk {asked.disk} of v{asked.base}: {verdict.message or 'waits for its turn'}" if asked else None
    return Remark("Committing", "Requested", said)


@newest(4)
def _counted(config: DhcpConfig) -> Mapping[str, int]:
    """How many machines each network has: asked in every pass of the same configuration."""
    return Counter(network for network, _ in {(host.network, host.machine) for host in config.hosts})


def _of_a_session(step: Step) -> bool:
    return any(owner.startswith("Session/") for owner in step.owners)


def forgettable(one: Object, plan: Plan, observed: Observed, site: Site) -> bool:
    """Whether a deleted object's row may go: nothing is left to do for it, and nothing of it is out of sight."""
    if one.metadata.deleted_at is None or any(one.key in step.owners for step in plan.steps):
        return False
    if isinstance(one, Image):
        dark = "pool" not in observed.complete or {"pool", one.name} & observed.unreadable.keys()
        return not resolve.leaves(one) or not dark
    if not isinstance(one, Machine | Session):
        return True
    machine = one.spec.machine if isinstance(one, Session) else one.name
    hidden = {"lio", "pool", "tftp", site.target(machine)} & observed.unreadable.keys()
    overlays = (OverlayName.parse(key) for key in observed.unreadable)
    return not hidden and not any(name and name.machine == machine for name in overlays)
