"""A store in memory, for the rules: no await in it waits, so a test may drive it without an event loop.

It answers ``Store`` and passes the same contract suite as the databases; it is written for plainness, not speed. Uids
are counted, so that two runs of one story name everything alike.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from controller.ports.audit import OURSELVES, Actor
from controller.ports.requests import Asked, InProgress, Kept, KeyReused, Record, Ticket
from controller.ports.store import (
    Admission,
    Applied,
    Claim,
    Conflict,
    Event,
    Fenced,
    Gone,
    Lease,
    LogEntry,
    News,
    NotFound,
    Revision,
    StatusWrite,
)
from controller.ports.tombstones import Place, Tombstone
from manifests.kinds import KINDS, Object
from manifests.meta import DISRUPTION, PRUNE, Metadata

_AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class _Row:
    """One object; ``said`` is what its manifest says: spec, labels, annotations."""

    uid: str
    manager: str
    said: dict[str, Any]
    created_at: datetime
    version: int = 0
    generation: int = 1
    deleted_at: datetime | None = None
    deleted_by: str = ""
    overridden_by: str | None = None
    by_hand: dict[str, str | None] = field(default_factory=dict)
    status: dict[str, Any] | None = None
    status_version: int = 0

    @property
    def annotations(self) -> dict[str, str]:
        both = {**self.said["annotations"], **self.by_hand}
        return {name: value for name, value in both.items() if value is not None}


@dataclass
class _Grave:
    """A row that was removed."""

    key: str
    row: _Row
    removed_at: datetime


@dataclass
class _Request:
    digest: str
    claim: int
    at: datetime
    kept: Kept | None = None


@dataclass
class _Dirty:
    """``again`` holds the marks of a key that is claimed: priority and time, or None."""

    since: int
    priority: int
    not_before: datetime
    attempts: int = 0
    claimed: int | None = None
    again: tuple[int, int, datetime] | None = None


def _said(manifest: Object) -> dict[str, Any]:
    meta = manifest.metadata
    return {"spec": manifest.spec.wire(), "labels": dict(meta.labels), "annotations": dict(meta.annotations)}


class MemoryStore:
    def __init__(
        self,
        *,
        changes_kept: int = 100_000,
        events_kept: int = 10_000,
        restore_days: int = 30,
        tombstones_kept: int = 10_000,
    ) -> None:
        self._changes_kept, self._events_kept = changes_kept, events_kept
        self._days, self._tombstones_kept = timedelta(days=restore_days), tombstones_kept
        self._graves: dict[str, _Grave] = {}
        self._requests: dict[str, _Request] = {}
        self._rows: dict[str, _Row] = {}
        self._log: list[LogEntry] = []
        self._version = self._uids = self._seq = 0
        self._orphans: set[str] = set()
        self._dirty: dict[str, _Dirty] = {}
        self._observations: dict[str, str] = {}
        self._events: dict[tuple[str, str, str], Event] = {}
        self._revisions: dict[tuple[str, str, str], Revision] = {}
        self._leases: dict[str, tuple[str | None, int, datetime]] = {}

    # objects

    def _row(self, key: str) -> _Row:
        if key not in self._rows:
            raise NotFound(f"there is no {key}")
        return self._rows[key]

    def _manifest(self, key: str) -> Object:
        row = self._rows[key]
        kind, _, name = key.partition("/")
        metadata = Metadata.model_validate(
            {
                "name": name,
                "labels": row.said["labels"],
                "annotations": row.annotations,
                "uid": row.uid,
                "generation": row.generation,
                "resource_version": max(row.version, row.status_version),
                "created_at": row.created_at,
                "managed_by": row.manager,
                "overridden_by": row.overridden_by,
                "deleted_at": row.deleted_at,
            }
        )
        return KINDS[kind].model_validate({"metadata": metadata, "spec": row.said["spec"], "status": row.status})

    def _entry(self, key: str, change: Literal["ADDED", "MODIFIED", "DELETED"]) -> int:
        self._version += 1
        self._log.append(LogEntry(self._version, key, change))
        del self._log[: -self._changes_kept]
        return self._version

    def _demand(self, expect: Mapping[str, int]) -> None:
        for key, version in expect.items():
            row = self._rows.get(key)
            if (row is None) != (version == 0):
                raise Conflict(f"{key} is gone" if row is None else f"{key} exists already")
            if row and not row.version <= version <= max(row.version, row.status_version):
                raise Conflict(f"{key} has changed")

    async def get(self, key: str) -> Object:
        self._row(key)
        return self._manifest(key)

    async def fetch(self, keys: Collection[str]) -> Mapping[str, Object]:
        return {key: self._manifest(key) for key in sorted(keys) if key in self._rows}

    async def list(self, kind: str | None = None) -> tuple[Sequence[Object], int]:
        keys = sorted(key for key in self._rows if kind is None or key.startswith(f"{kind}/"))
        return [self._manifest(key) for key in keys], self._version

    async def versions(self) -> Mapping[str, int]:
        return {key: row.version for key, row in self._rows.items()}

    async def put(
        self,
        objects: Sequence[Object],
        manager: str,
        now: datetime,
        *,
        prune: bool = False,
        expect: Mapping[str, int] | None = None,
        dry_run: bool = False,
        force: bool = False,
        by: Actor | None = None,
        revive: Mapping[str, str] | None = None,
        record: Record | None = None,
        admission: Admission | None = None,
    ) -> Applied:
        if admission is not None:
            await admission.admit(self._news(admission.known))
        before = deepcopy(self.__dict__)
        try:
            applied = self._put(objects, manager, now, prune, expect or {}, revive or {}, force)
            if record is not None:
                self._answer(record, applied, {one.key: self._manifest(one.key) for one in objects})
        except BaseException:
            self.__dict__ = before
            raise
        if dry_run:
            self.__dict__ = before
        return applied

    def _put(
        self,
        objects: Sequence[Object],
        manager: str,
        now: datetime,
        prune: bool,
        expect: Mapping[str, int],
        revive: Mapping[str, str],
        force: bool,
    ) -> Applied:
        wanted = {manifest.key: _said(manifest) for manifest in sorted(objects, key=lambda manifest: manifest.key)}
        if len(wanted) != len(objects):
            raise Conflict("an object is given twice")
        self._demand(expect)
        created = [key for key in wanted if key not in self._rows]
        changed = [key for key in wanted if key in self._rows and self._replace(key, wanted[key], manager, force)]
        pruned = [
            key
            for key, row in sorted(self._rows.items())
            if prune and row.manager == manager and row.deleted_at is None and key not in wanted
            if row.annotations.get(PRUNE) != "disabled"
        ]
        for key in created:
            self._rows[key] = self._create(key, wanted[key], manager, now, revive.get(key))
        for key in changed:
            self._rows[key].version = self._entry(key, "MODIFIED")
        self._delete(pruned, now, manager)
        for key in pruned:
            self._rows[key].overridden_by = None
        for grave in self._graves.values():
            if prune and grave.row.manager == manager:
                grave.row.overridden_by = None
        self._mark([*created, *changed, *pruned])
        adopted = [key for key in (*created, *changed) if key.startswith("Session/")]
        self._orphans -= {wanted[key]["spec"]["machine"] for key in adopted}
        return Applied(
            tuple(created), tuple(changed), tuple(pruned), len(wanted) - len(created) - len(changed), self._version
        )

    def _create(self, key: str, said: dict[str, Any], manager: str, now: datetime, uid: str | None) -> _Row:
        if uid is None:
            self._uids += 1
            fresh = str(uuid.UUID(int=self._uids, version=4))
            return _Row(fresh, manager, said, now, version=self._entry(key, "ADDED"))
        grave = self._graves.get(uid)
        if grave is None or grave.key != key or grave.removed_at <= now - self._days:
            raise NotFound(f"{key} cannot be restored any more")
        del self._graves[uid]
        old = grave.row
        taken = old.overridden_by is not None
        return _Row(
            uid,
            old.manager if taken else manager,
            said,
            old.created_at,
            version=self._entry(key, "ADDED"),
            generation=old.generation + 1,
            overridden_by=manager if taken else None,
        )

    def _replace(self, key: str, said: dict[str, Any], manager: str, force: bool) -> bool:
        row = self._rows[key]
        withdrawn, by_source = row.deleted_at is not None, manager.startswith("git:")
        if row.manager.startswith("git:") and manager.startswith("api:") and not force and not withdrawn:
            raise Conflict(f"{key} is managed by {row.manager}: change it there, or force it")
        if manager == row.manager and by_source and row.overridden_by and row.annotations.get("ggnet/paused") == "true":
            return False
        taken = row.manager.startswith("git:") and not by_source and (not withdrawn or row.overridden_by is not None)
        owner = row.manager if taken else manager
        after = replace(row, said=said, manager=owner, deleted_at=None, deleted_by="")
        if withdrawn or not owner.startswith("git:"):
            after.by_hand = {}
        if withdrawn or said["spec"] != row.said["spec"]:
            after.generation += 1
        if not (taken and after == row):
            after.overridden_by = manager if taken else None
        self._rows[key] = after
        return after != row

    def _delete(self, keys: Sequence[str], now: datetime, who: str, taken: bool = False) -> None:
        for key in keys:
            row = self._rows[key]
            row.overridden_by = who if taken and row.manager.startswith("git:") else row.overridden_by
            row.deleted_at, row.deleted_by = now, who
            row.version = self._entry(key, "MODIFIED")

    async def mark_deleted(
        self,
        keys: Sequence[str],
        now: datetime,
        *,
        who: str = "",
        annotations: Mapping[str, str | None] | None = None,
        expect: Mapping[str, int] | None = None,
        by: Actor = OURSELVES,
        dry_run: bool = False,
        admission: Admission | None = None,
    ) -> Applied:
        if admission is not None:
            await admission.admit(self._news(admission.known))
        before = deepcopy(self.__dict__)
        wanted = sorted(set(keys))
        fresh = [key for key in wanted if self._row(key).deleted_at is None]
        self._demand(expect or {})
        for key in wanted:
            by_hand = self._laid_over(self._rows[key], annotations or {})
            if by_hand != self._rows[key].by_hand:
                self._rows[key].by_hand = by_hand
                if key not in fresh:
                    self._rows[key].version = self._entry(key, "MODIFIED")
                    self._mark([key])
        self._delete(fresh, now, who, who.startswith("api:"))
        self._mark(fresh)
        applied = Applied(deleted=tuple(fresh), unchanged=len(wanted) - len(fresh), resource_version=self._version)
        if dry_run:
            self.__dict__ = before
        return applied

    async def remove(self, key: str, uid: str, now: datetime, *, orphan: str | None = None, by: Actor = OURSELVES) -> None:
        row = self._rows.get(key)
        if row is None or row.uid != uid:
            return
        if row.deleted_at is None:
            raise Conflict(f"{key} is wanted again: it is not removed")
        if self._days or row.overridden_by is not None:
            row.by_hand = {**row.by_hand, DISRUPTION: None}
            self._graves[uid] = _Grave(key, row, now)
        newest = sorted(self._graves.items(), key=lambda pair: (pair[1].removed_at, pair[0]), reverse=True)
        for number, (old, grave) in enumerate(newest):
            late = number >= self._tombstones_kept or grave.removed_at <= now - self._days
            if late and grave.row.overridden_by is None:
                del self._graves[old]
        del self._rows[key]
        self._entry(key, "DELETED")
        self._orphans |= {orphan} if orphan else set()

    async def overridden(self, manager: str) -> Mapping[str, str]:
        graves = {grave.key: grave.row for grave in self._graves.values() if grave.row.manager == manager}
        rows = {key: row for key, row in self._rows.items() if row.manager == manager}
        awake = {key: row for key, row in rows.items() if row.annotations.get("ggnet/paused") != "true"}
        return {key: row.overridden_by for key, row in {**graves, **awake}.items() if row.overridden_by is not None}

    async def tombstones(
        self, now: datetime, *, key: str | None = None, kind: str | None = None, after: Place | None = None, limit: int = 500
    ) -> Sequence[Tombstone]:
        graves = [grave for grave in self._graves.values() if grave.removed_at > now - self._days]
        if after is not None:
            graves = [one for one in graves if (one.removed_at, one.row.uid) < after]
        graves = [one for one in graves if key in (None, one.key) and kind in (None, one.key.partition("/")[0])]
        graves.sort(key=lambda one: (one.removed_at, one.row.uid), reverse=True)
        return [self._tombstone(one) for one in graves[:limit]]

    def _tombstone(self, grave: _Grave) -> Tombstone:
        mine = self._rows.get(grave.key)
        self._rows[grave.key] = replace(grave.row, status=None, version=0, status_version=0)
        found = self._manifest(grave.key)
        if mine is None:
            del self._rows[grave.key]
        else:
            self._rows[grave.key] = mine
        return Tombstone(found, grave.row.deleted_by or grave.row.manager, grave.removed_at, grave.removed_at + self._days)

    # requests that may be sent twice

    async def begin(self, asked: Asked, now: datetime) -> Ticket | Kept:
        row = self._requests.get(asked.id)
        held = timedelta(hours=24) if row is None or row.kept else timedelta(seconds=60)
        if row is None or row.at <= now - held:
            self._seq += 1
            self._requests[asked.id] = _Request(asked.digest, self._seq, now)
            return Ticket(asked.id, str(self._seq))
        if row.digest != asked.digest:
            raise KeyReused
        if row.kept is None:
            raise InProgress
        return row.kept

    def _held(self, ticket: Ticket) -> _Request | None:
        row = self._requests.get(ticket.id)
        return row if row and str(row.claim) == ticket.claim and row.kept is None else None

    def _answer(self, record: Record, applied: Applied, objects: Mapping[str, Object]) -> None:
        row = self._held(record.ticket)
        if row is None:
            raise InProgress
        row.kept = record.compose(applied, objects)

    async def keep(self, ticket: Ticket, kept: Kept) -> None:
        if row := self._held(ticket):
            row.kept = kept

    async def abandon(self, ticket: Ticket) -> None:
        if self._held(ticket):
            del self._requests[ticket.id]

    async def orphans(self) -> frozenset[str]:
        return frozenset(self._orphans)

    @staticmethod
    def _laid_over(row: _Row, annotations: Mapping[str, str | None]) -> dict[str, str | None]:
        both = {**row.by_hand, **annotations}
        return {name: value for name, value in both.items() if row.said["annotations"].get(name) != value}

    async def annotate(self, key: str, annotations: Mapping[str, str | None], *, by: Actor = OURSELVES) -> None:
        row = self._row(key)
        after = replace(row, by_hand=self._laid_over(row, annotations))
        if after.annotations != row.annotations:
            Metadata.model_validate({"name": key.partition("/")[2], "annotations": after.annotations})
            after.version = self._entry(key, "MODIFIED")
            self._rows[key] = after
            self._mark([key])

    async def changes(self, since: int, limit: int = 500) -> Sequence[LogEntry]:
        found = [entry for entry in self._log if entry.resource_version > since][:limit]
        if since > self._version or (since < self._version and (not found or found[0].resource_version != since + 1)):
            raise Gone(f"the change log does not hold what follows resourceVersion {since}: list again")
        return found

    async def news(self, since: int) -> Sequence[News]:
        return self._news(since)

    def _news(self, since: int) -> Sequence[News]:
        found = [entry for entry in self._log if entry.resource_version > since]
        if since > self._version or len(found) != self._version - since:
            raise Gone(f"the change log does not hold what follows resourceVersion {since}: list again")
        return [News(entry, self._manifest(entry.key) if entry.key in self._rows else None) for entry in found]

    async def pulse(self) -> int:
        return self._version

    # what was observed

    def _fence(self, lease: Lease) -> None:
        if self._leases.get(lease.name, (None, 0))[:2] != (lease.holder, lease.epoch):
            raise Fenced(f"{lease.holder} no longer holds {lease.name} (epoch {lease.epoch})")

    async def report(
        self,
        lease: Lease,
        *,
        statuses: Sequence[StatusWrite] = (),
        observations: Mapping[str, str | None] | None = None,
        events: Sequence[Event] = (),
    ) -> int:
        self._fence(lease)
        await self.tell(events)
        return self._write_statuses(statuses) + self._write_observations(observations or {})

    def _write_statuses(self, writes: Sequence[StatusWrite]) -> int:
        keys = {row.uid: key for key, row in self._rows.items()}
        wanted = {keys[write.uid]: dict(write.status) for write in writes if write.uid in keys}
        changed = sorted(key for key, status in wanted.items() if self._rows[key].status != status)
        for key in changed:
            self._rows[key].status = deepcopy(wanted[key])
            self._rows[key].status_version = self._entry(key, "MODIFIED")
        return len(changed)

    def _write_observations(self, observations: Mapping[str, str | None]) -> int:
        changed = {key: text for key, text in observations.items() if self._observations.get(key) != text}
        kept = {**self._observations, **changed}
        self._observations = {key: text for key, text in kept.items() if text is not None}
        return len(changed)

    async def observations(self, prefix: str = "") -> Mapping[str, str]:
        return {key: text for key, text in self._observations.items() if key.startswith(prefix)}

    # the dirty set

    def _mark(self, keys: Collection[str], priority: int = 0, not_before: datetime | None = None) -> None:
        time = not_before or _AT_ONCE
        self._seq += bool(keys)
        for key in keys:
            row = self._dirty.setdefault(key, _Dirty(self._seq, priority, time))
            if row.claimed is None:
                row.priority, row.not_before = max(row.priority, priority), min(row.not_before, time)
            elif row.again is None:
                row.again = (self._seq, priority, time)
            else:
                row.again = (row.again[0], max(row.again[1], priority), min(row.again[2], time))

    async def mark(self, keys: Collection[str], *, priority: int = 0, not_before: datetime | None = None) -> None:
        self._mark(keys, priority, not_before)

    async def claim(self, now: datetime, limit: int) -> Sequence[Claim]:
        due = [(key, row) for key, row in self._dirty.items() if row.claimed is None and row.not_before <= now]
        due.sort(key=lambda pair: (-pair[1].priority, pair[1].since, pair[0]))
        chosen = due[:limit]
        if len(chosen) == limit > 1:
            oldest = min(due, key=lambda pair: (pair[1].since, pair[0]))
            chosen = chosen if oldest in chosen else [*chosen[:-1], oldest]
        self._seq += bool(chosen)
        for _, row in chosen:
            row.claimed = row.since = self._seq
        return [Claim(key, self._seq, row.attempts) for key, row in chosen]

    def _return(self, key: str) -> None:
        """The claim ends; marks made since then stand."""
        row = self._dirty[key]
        if row.again:
            row.since, row.priority, row.not_before = row.again
        row.claimed = row.again = None

    async def done(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            row = self._dirty.get(claim.key)
            if row is None or row.claimed != claim.seq:
                continue
            if row.again is None:
                del self._dirty[claim.key]
            else:
                self._return(claim.key)
                row.attempts = 0

    async def retry(self, claim: Claim, not_before: datetime) -> None:
        row = self._dirty.get(claim.key)
        if row is not None and row.claimed == claim.seq:
            row.not_before = not_before
            if row.again:
                row.again = (*row.again[:2], min(row.again[2], not_before))
            self._return(claim.key)
            row.attempts = claim.attempts + 1

    async def reopen(self) -> int:
        open_ = [key for key, row in self._dirty.items() if row.claimed is not None]
        for key in open_:
            self._return(key)
        return len(open_)

    async def waiting(self) -> int:
        return len(self._dirty)

    async def next_due(self) -> datetime | None:
        return min((row.not_before for row in self._dirty.values() if row.claimed is None), default=None)

    # what happened

    async def tell(self, events: Sequence[Event]) -> None:
        for event in events:
            before = self._events.pop((event.key, event.type, event.reason), None)
            if before:
                first, last = min(before.first, event.first), max(before.last, event.last)
                event = replace(event, first=first, last=last, count=before.count + event.count)
            self._events[event.key, event.type, event.reason] = event
        self._events = dict(list(self._events.items())[-self._events_kept :])

    async def events(self, key: str | None = None, limit: int = 200) -> Sequence[Event]:
        return [event for event in reversed(self._events.values()) if key in (None, event.key)][:limit]

    async def record(self, revision: Revision) -> None:
        name = (revision.source, revision.sha, revision.verdict)
        kept = self._revisions.get(name, revision)
        self._revisions[name] = replace(kept, received_at=revision.received_at, converged_at=revision.converged_at)

    async def revisions(self, source: str | None = None, limit: int = 50) -> Sequence[Revision]:
        found = [self._revisions[name] for name in sorted(self._revisions) if source in (None, name[0])]
        return sorted(found, key=lambda revision: revision.received_at, reverse=True)[:limit]

    async def converged(self, source: str, sha: str, at: datetime) -> None:
        kept = self._revisions.get((source, sha, "accepted"))
        if kept and kept.converged_at is None:
            self._revisions[source, sha, "accepted"] = replace(kept, converged_at=at)

    async def approve(self, source: str, sha: str, *, by: Actor = OURSELVES) -> None:
        kept = self._revisions.get((source, sha, "guarded"))
        if kept is None:
            raise NotFound(f"no revision {sha} of {source} waits for approval")
        self._revisions[source, sha, "guarded"] = replace(kept, approved=True)

    # leases

    async def acquire(self, name: str, holder: str, now: datetime, seconds: float) -> Lease | None:
        owner, epoch, expires = self._leases.get(name, (None, 0, now))
        if owner not in (None, holder) and expires > now:
            return None
        lease = Lease(name, holder, epoch + 1, now + timedelta(seconds=seconds))
        self._leases[name] = (holder, lease.epoch, lease.expires)
        return lease

    async def renew(self, lease: Lease, now: datetime, seconds: float) -> Lease:
        self._fence(lease)
        renewed = replace(lease, expires=now + timedelta(seconds=seconds))
        self._leases[lease.name] = (lease.holder, lease.epoch, renewed.expires)
        return renewed

    async def release(self, lease: Lease) -> None:
        holder, epoch, expires = self._leases.get(lease.name, (None, 0, lease.expires))
        if (holder, epoch) == (lease.holder, lease.epoch):
            self._leases[lease.name] = (None, epoch, expires)

    async def lease(self, name: str) -> Lease | None:
        holder, epoch, expires = self._leases.get(name, (None, 0, _AT_ONCE))
        return Lease(name, holder, epoch, expires) if holder else None

    # itself

    async def ping(self) -> None:
        return None

    async def close(self) -> None:
        return None
