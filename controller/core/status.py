"""What was observed, object by object. Ready is True only if nothing is left to do for an object and all of it was read."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.core import dhcp, phases, resolve
from controller.core.cases import Case, case_of
from controller.core.choice import Disk, Missing
from controller.core.index import Index
from controller.core.names import SYSTEM_DISK, OverlayName, Site, script
from controller.core.phases import Phase, Progress
from controller.core.render import dhcpd
from controller.core.steps import Effect, LoadDhcp, Outcome, Plan, Step
from controller.core.targets import leads_somewhere, serves
from controller.core.verdicts import Verdict, judge, status_of
from controller.core.world import Client, Desired, DhcpConfig, Login, Observed
from manifests.image import Image, ImageStatus, ImageVersion
from manifests.kinds import Object
from manifests.machine import Machine, MachineStatus
from manifests.meta import Status
from manifests.network import Network, NetworkStatus
from manifests.session import Session, SessionStatus


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
    for one in everything:
        match one:
            case Machine() if not resolve.elsewhere(one, site):
                told[one.key] = teller.machine(one)
            case Session():
                on = machines.get(one.spec.machine)
                if on is None or not resolve.elsewhere(on, site):
                    told[one.key] = teller.session(one)
            case Image():
                told[one.key] = teller.image(one)
            case Network():
                told[one.key] = teller.network(one)
            case Machine():
                pass
    return told


@dataclass(frozen=True, slots=True)
class Teller:
    """One look at everything, from which each object's status is told. ``left`` are the steps left, by owner."""

    desired: Desired
    index: Index
    site: Site
    now: datetime
    left: Mapping[str, Sequence[Step]]
    load: Step | None
    outcomes: Mapping[str, Outcome]

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
        }
        phase: Phase = "Unknown" if verdict.progress is Progress.BLIND else phases.machine(followed)
        return status_of(MachineStatus, one.status, one.metadata, phase, verdict, facts, self.now)

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
            phase, facts = phases.SESSION["stopped", verdict.progress], self._unserved(one, client)
            if verdict.progress is Progress.MISSING:
                phase = "Pending"
        return status_of(SessionStatus, one.status, one.metadata, phase, verdict, facts, self.now)

    def _running(self, case: Case, key: str) -> Verdict:
        """How far the machine's running session is; its machine's share in DHCP belongs to it."""
        machine = case.machine
        own = [step for step in self._left(machine) if key in step.owners or not _of_a_session(step)]
        missing = (case.disk.reason, case.disk.message) if isinstance(case.disk, Missing) else self._unloaded(case.client)
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
        asked = one.spec.state == "running" and one.metadata.deleted_at is None and not resolve.expired(one, self.now)
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
        return judge(steps, self._outcomes(one.key), blind=blind, missing=missing, done=done)

    def _phase(self, case: Case, verdict: Verdict) -> Phase:
        login = case.state.login if case.state else Login.NONE
        if isinstance(case.disk, Disk):
            whole = serves(case.facts, case.disk.target.initiator, case.disk.target.portal)
        else:
            whole = leads_somewhere(case.facts)
        return phases.session("running", verdict.progress, whole=whole, login=login)

    def _served(self, one: Session, case: Case) -> dict[str, Any]:
        disk, state = case.disk, case.state
        overlay = disk.overlay if isinstance(disk, Disk) else None
        file = self.index.observed.pool.overlays.get(str(overlay)) if overlay else None
        return {
            "target": str(case.iqn),
            "lun": 0,
            "initiator": str(case.client.initiator),
            "overlay": str(overlay) if overlay else None,
            "overlay_method": file.method if file else None,
            "image_version": disk.version if isinstance(disk, Disk) else None,
            "connection": (state.login if state else Login.NONE).value,
            "started_at": (one.status.started_at if one.status else None) or self.now,
        }

    def _unserved(self, one: Session, client: Client | None) -> dict[str, Any]:
        """What is left of it; the start is remembered while it is still asked to run, or its time would begin anew."""
        uid = resolve.uid(one)
        overlays = self.index.overlays.get((one.spec.machine, SYSTEM_DISK), ())
        kept = max((o for o in overlays if o.uid == uid), key=lambda o: o.version, default=None)
        state = self.index.observed.targets.get(self.site.target(one.spec.machine))
        exported = OverlayName.parse(state.facts.get("backstore/path", "").rpartition("/")[2]) if state else None
        mine = state if exported is not None and exported.uid == uid else None
        started = one.status.started_at if one.status and one.spec.state == "running" else None
        return {
            "target": str(self.site.target(one.spec.machine)) if mine else None,
            "lun": 0 if mine else None,
            "initiator": str(client.initiator) if mine and client else None,
            "overlay": str(kept) if kept else None,
            "overlay_method": self.index.observed.pool.overlays[str(kept)].method if kept else None,
            "image_version": kept.version if kept else None,
            "connection": mine.login.value if mine else None,
            "started_at": started,
        }

    def image(self, one: Image) -> ImageStatus:
        pool = self.index.observed.pool
        versions = pool.images.get(one.name, {})
        newest = versions[max(versions)] if versions else None
        source = pool.sources.get(one.name)
        path, missing = one.spec.source.path, None
        if source is None or source.stamp is None or source.problem:
            problem = source.problem if source and source.problem else "is not in the import folder"
            missing = ("SourceUnusable", f"source {path}: {problem}")
        steps = self._left(one.key)
        done = ("Imported", f"v{newest.version} is the newest") if newest else ("Imported", "")
        if not steps and newest is None and missing is None:
            missing = ("NotImported", f"source {path} is not imported yet")
        blind = self.index.blind("pool", one.name)
        verdict = judge(steps, self._outcomes(one.key), blind=blind, missing=missing, done=done)
        phase = phases.IMAGE[verdict.progress]
        if verdict.progress is Progress.MISSING and source is not None:
            phase = "Failed"
        facts = {
            "version": newest.version if newest else None,
            "sha256": newest.sha256 if newest else None,
            "size": newest.size if newest else None,
            "versions": tuple(
                ImageVersion(version=v, sha256=versions[v].sha256, size=versions[v].size) for v in sorted(versions)
            ),
        }
        return status_of(ImageStatus, one.status, one.metadata, phase, verdict, facts, self.now)

    def network(self, one: Network) -> NetworkStatus:
        external = one.spec.dhcp == "external"
        state, config = self.index.observed.dhcp, self.desired.dhcp
        loading = [self.load] if self.load and not external and one.key not in self.load.owners else []
        missing = ("DhcpProblem", state.problem) if state.problem and not external else None
        done = ("External", "somebody else answers DHCP here") if external else ("Loaded", "dhcpd answers with it")
        blind = None if external else self.index.observed.unreadable.get("dhcp")
        outcomes = [*self._outcomes(one.key), *self._loaded(loading)]
        verdict = judge([*self._left(one.key), *loading], outcomes, blind=blind, missing=missing, done=done)
        counted = len({host.machine for host in config.hosts if host.network == one.name}) if config else None
        facts = {"machines": counted if counted is not None else one.status.machines if one.status else None}
        phase = phases.NETWORK[verdict.progress]
        return status_of(NetworkStatus, one.status, one.metadata, phase, verdict, facts, self.now)

    def _case(self, client: Client) -> Case:
        return case_of(client, self.desired, self.index, self.site)

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


def _of_a_session(step: Step) -> bool:
    return any(owner.startswith("Session/") for owner in step.owners)


def forgettable(one: Object, plan: Plan, observed: Observed, site: Site) -> bool:
    """Whether a deleted object's row may go: nothing is left to do for it, and nothing of it is out of sight."""
    if one.metadata.deleted_at is None or any(one.key in step.owners for step in plan.steps):
        return False
    if not isinstance(one, Machine | Session):
        return True
    machine = one.spec.machine if isinstance(one, Session) else one.name
    hidden = {"lio", "pool", "tftp", site.target(machine)} & observed.unreadable.keys()
    return not hidden and machine not in Index.of(observed).unread
