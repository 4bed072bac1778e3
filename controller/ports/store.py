"""What we ask of the store: objects and their status, the dirty set, events, revisions, leases."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from controller.ports.audit import OURSELVES, Actor
from manifests.kinds import Object

if TYPE_CHECKING:
    from controller.ports.requests import Record


class Conflict(Exception):
    """The object has changed since it was read: read it again and decide anew."""


class NotFound(Exception):
    """There is no such object."""


class Fenced(Exception):
    """Another controller has taken over this boot server: this one must stop writing."""


class Gone(Exception):
    """The change log does not reach back to there (or never got there): list everything afresh and watch from that."""


class StoreError(Exception):
    """The store cannot be used as it is: unreachable, damaged, full, of another version. One line, with the remedy."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What one transaction did. Keys are ``Kind/name``."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unchanged: int = 0
    resource_version: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling, aggregated on (key, type, reason): ``count`` and ``last`` move, no new row."""

    key: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    first: datetime
    last: datetime
    count: int = 1


@dataclass(frozen=True, slots=True)
class Revision:
    """One reading of a source. ``verdict``: accepted | refused | guarded | failed. Times are UTC."""

    source: str
    sha: str
    author: str
    message: str
    verdict: Literal["accepted", "refused", "guarded", "failed"]
    problems: tuple[Mapping[str, Any], ...]
    received_at: datetime
    converged_at: datetime | None = None
    approved: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A dirty key handed out; ``done`` with a stale ``seq`` leaves it dirty."""

    key: str
    seq: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Lease:
    name: str
    holder: str
    epoch: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """A status for the object of this uid; ``status`` is the wire form (``Status.wire()``)."""

    key: str
    uid: str
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One row of the change log: ``resource_version`` rises by commit order, without gaps in what a reader sees."""

    resource_version: int
    key: str
    type: Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class News:
    """One change, and the object as it stands now, which may be newer than the change; None once it is gone."""

    entry: LogEntry
    object: Object | None


class Admission(Protocol):
    """What a write must pass, asked where nobody else can write in between."""

    @property
    def known(self) -> int:
        """The resourceVersion up to which it knows all objects."""

    async def admit(self, news: Sequence[News]) -> None:
        """``news`` is all that was committed since ``known``. Whatever it raises, nothing is written."""


class Store(Protocol):
    """Objects and their status, the dirty set, events, revisions, leases. Every method is one transaction.

    An object's ``metadata.resourceVersion`` rises with its status too; ``versions`` and ``expect`` ask only for what
    people say of it (spec, metadata), so that a status that moves on neither wakes a sweep nor refuses an edit.
    What changes an object writes a row of the audit log in the same transaction, as done ``by`` somebody; of a ``put``
    that is its manager unless told otherwise. Any method may raise StoreError.
    """

    # objects
    async def get(self, key: str) -> Object:
        """NotFound."""

    async def fetch(self, keys: Collection[str]) -> Mapping[str, Object]:
        """Those of these objects that there are, by key."""

    async def list(self, kind: str | None = None) -> tuple[Sequence[Object], int]:
        """Objects by kind and name, deleted ones that are still served included, and the resourceVersion of the read."""

    async def versions(self) -> Mapping[str, int]:
        """Key -> resourceVersion of every object's spec and metadata: what a sweep compares to know what changed."""

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
        record: "Record | None" = None,
        admission: Admission | None = None,
    ) -> Applied:
        """Create or replace these specs as one transaction, marking what changed dirty. An unchanged spec writes nothing.

        ``prune`` marks for deletion every object of the same manager that is not among them (unless annotated
        ``ggnet/prune: disabled``). ``expect`` holds resourceVersions that must still stand, 0 for "does not exist":
        Conflict. An object of a ``git:`` manager is taken over by an ``api:`` manager only with ``force``: Conflict.
        An object that is marked deleted is wanted again: the same uid, a new generation, no ``deletedAt``; whoever
        put it owns it. A Session that is put makes its machine no orphan. Gone when the log does not reach back to what
        ``admission`` knows.

        What is forced over a ``git:`` manager is marked ``overriddenBy`` until that manager puts it back, which it does
        not while the object is suspended. ``revive`` names the uids (by key) that created objects had before they were
        removed: they are the same again, a generation later. NotFound when such a one may not be restored any more.
        ``record`` is kept with the change, or neither is. InProgress when its ticket has run out.
        """

    async def mark_deleted(
        self,
        keys: Sequence[str],
        now: datetime,
        *,
        who: str = "",
        annotations: Mapping[str, str | None] | None = None,
        expect: Mapping[str, int] | None = None,
        dry_run: bool = False,
        by: Actor = OURSELVES,
        admission: Admission | None = None,
    ) -> Applied:
        """Sets ``deletedAt``; the controller withdraws what is served, then calls ``remove``. NotFound, Conflict, Gone.

        ``who`` is the manager that asks; what an ``api:`` one takes from a ``git:`` one is marked ``overriddenBy``.
        ``annotations`` are set with it, as ``annotate`` does, also of what is being withdrawn already.
        """

    async def remove(self, key: str, uid: str, now: datetime, *, orphan: str | None = None, by: Actor = OURSELVES) -> None:
        """The row goes, once nothing outside is left; ``orphan`` names the machine whose disk was left in place.

        What it said is kept for a time, to be restored. Nothing happens if this uid is gone already. Conflict if the
        object is wanted again in the meantime.
        """

    async def overridden(self, manager: str) -> Mapping[str, str]:
        """What was changed or deleted by force of this manager's, and by whom (key -> manager), but for the suspended."""

    async def orphans(self) -> frozenset[str]: ...

    async def annotate(self, key: str, annotations: Mapping[str, str | None], *, by: Actor = OURSELVES) -> None:
        """Sets (or with None removes) annotations without a new generation; marks dirty. NotFound, ValueError.

        They lie over the declared ones and outlive a ``git:`` put, or the next commit would resume what was suspended;
        an ``api:`` put replaces them with what it says.
        """

    async def changes(self, since: int, limit: int = 500) -> Sequence[LogEntry]:
        """What was committed after that resourceVersion, in order, no number left out. Gone."""

    async def news(self, since: int) -> Sequence[News]:
        """All of ``changes`` with the objects, from one moment: with them a copy is exact as of the last one. Gone."""

    async def pulse(self) -> int:
        """The newest resourceVersion, quickly: what is asked before anything is answered from a copy."""

    # what was observed
    async def report(
        self,
        lease: Lease,
        *,
        statuses: Sequence[StatusWrite] = (),
        observations: Mapping[str, str | None] | None = None,
        events: Sequence[Event] = (),
    ) -> int:
        """What a pass has to say; the number of statuses and observations that differed and were written. Fenced.

        The status of a uid that is gone is skipped. ``observations`` are opaque JSON by key (what the controller last
        saw), for the doors' plans; None removes.
        """

    async def observations(self, prefix: str = "") -> Mapping[str, str]:
        """All of them, or those whose key begins so."""

    # the dirty set
    async def mark(self, keys: Collection[str], *, priority: int = 0, not_before: datetime | None = None) -> None:
        """Keeps the higher priority and the earlier time. A key that is claimed is claimed again after ``done``.

        The first mark of a claimed key sets priority and time anew: what was claimed is already being done.
        ``put``, ``mark_deleted`` and ``annotate`` mark with priority 0 at once; a sweep should stay below that.
        """

    async def claim(self, now: datetime, limit: int) -> Sequence[Claim]:
        """Due keys, highest priority first, oldest first within one. A claim outlives no restart: see ``reopen``.

        Of more than one place the last goes to the oldest key due, so that none starves.
        """

    async def done(self, claims: Sequence[Claim]) -> None:
        """Out of the set; a key that was marked since it was claimed stays, with no attempts. A stale claim does nothing."""

    async def retry(self, claim: Claim, not_before: datetime) -> None:
        """Back in the set, one attempt more; a key that was marked since keeps the earlier of the two times."""

    async def reopen(self) -> int:
        """At start: claims of a dead process are due again. Their number."""

    async def waiting(self) -> int:
        """How many keys are in the set, claimed ones included."""

    async def next_due(self) -> datetime | None:
        """The earliest time of a key that nobody has claimed (in the past if one is due now); None without any."""

    # what happened
    async def tell(self, events: Sequence[Event]) -> None:
        """Adds up with what was told before. The newest are kept, some thousands."""

    async def events(self, key: str | None = None, limit: int = 200) -> Sequence[Event]:
        """The last told first."""

    async def record(self, revision: Revision) -> None:
        """One row a (source, sha, verdict); the same again changes nothing but the times."""

    async def revisions(self, source: str | None = None, limit: int = 50) -> Sequence[Revision]:
        """The last received first."""

    async def converged(self, source: str, sha: str, at: datetime) -> None:
        """The first time that an accepted revision was reached; later calls change nothing."""

    async def approve(self, source: str, sha: str, *, by: Actor = OURSELVES) -> None:
        """An operator accepts a revision that the prune guard held. NotFound."""

    # leases
    async def acquire(self, name: str, holder: str, now: datetime, seconds: float) -> Lease | None:
        """The lease with a new epoch if it is free, expired or ours; None while another holds it."""

    async def renew(self, lease: Lease, now: datetime, seconds: float) -> Lease:
        """Fenced once another epoch stands."""

    async def release(self, lease: Lease) -> None:
        """Free at once. Nothing happens if another epoch stands."""

    async def lease(self, name: str) -> Lease | None:
        """Who holds it, expired or not; None when it is free."""

    # itself
    async def ping(self) -> None:
        """StoreError, within seconds."""

    async def close(self) -> None: ...
