"""What was observed, and what happened: status, observations, events, revisions. Only differences are written."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime

from sqlalchemy import Executable, case, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.database import Database
from controller.adapters.statements import advance, among, batches, execute_many, lock
from controller.adapters.store_leases import fence
from controller.adapters.store_objects import ChangeType, write_log
from controller.adapters.store_trail import Trail
from controller.adapters.tables import EVENTS, RESOURCE_VERSION, objects, revisions, statuses
from controller.adapters.tables import events as told
from controller.adapters.tables import observations as seen
from controller.ports.audit import OURSELVES, Actor, Entry
from controller.ports.clock import Clock
from controller.ports.store import Event, Lease, NotFound, Revision, StatusWrite

_SEEN = select(seen.c.key, seen.c.digest).where(among(seen.c.key))
_TOLD = select(objects.c.key, objects.c.uid, statuses.c.status).join_from(objects, statuses, isouter=True)
_TOLD = _TOLD.where(among(objects.c.uid))


def _status(db: Database) -> Executable:
    new = db.insert(statuses)
    rest = {"status": new.excluded.status, "resource_version": new.excluded.resource_version}
    return new.on_conflict_do_update(index_elements=[statuses.c.uid], set_=rest)


def _observation(db: Database) -> Executable:
    new = db.insert(seen)
    rest = {"text": new.excluded.text, "digest": new.excluded.digest}
    return new.on_conflict_do_update(index_elements=[seen.c.key], set_=rest)


class Reports:
    _db: Database
    _clock: Clock
    _trail: Trail
    _changes_kept: int
    _events_kept: int

    async def report(
        self,
        lease: Lease,
        *,
        statuses: Sequence[StatusWrite] = (),
        observations: Mapping[str, str | None] | None = None,
        events: Sequence[Event] = (),
    ) -> int:
        async with self._db.write() as conn:
            await fence(conn, lease)
            written = await self._write_statuses(conn, statuses) if statuses else 0
            written += await self._write_observations(conn, observations) if observations else 0
            if events:
                await self._write_events(conn, events)
        return written

    async def _write_statuses(self, conn: AsyncConnection, writes: Sequence[StatusWrite]) -> int:
        wanted = {write.uid: dict(write.status) for write in writes}
        version = await lock(conn, RESOURCE_VERSION)
        changed = await _differing(conn, wanted)
        rows = [
            {"uid": uid, "status": wanted[uid], "resource_version": number}
            for number, (_, uid) in enumerate(changed, start=version + 1)
        ]
        if changed:
            await execute_many(conn, self._db.once(_status), rows)
            log: list[tuple[str, ChangeType]] = [(key, "MODIFIED") for key, _ in changed]
            await write_log(conn, version, log, self._changes_kept)
        return len(changed)

    async def _write_observations(self, conn: AsyncConnection, observations: Mapping[str, str | None]) -> int:
        wanted = {key: _digest(text) for key, text in observations.items()}
        there: dict[str, str | None] = {}
        for batch in batches(sorted(wanted)):
            found = await conn.execute(_SEEN, {"keys": batch})
            there |= dict(found.all())
        changed = [key for key in sorted(wanted) if there.get(key) != wanted[key]]
        rows = [{"key": key, "text": observations[key], "digest": wanted[key]} for key in changed if wanted[key]]
        await execute_many(conn, self._db.once(_observation), rows)
        for batch in batches([key for key in changed if not wanted[key]]):
            await conn.execute(delete(seen).where(seen.c.key.in_(batch)))
        return len(changed)

    async def observations(self, prefix: str = "") -> Mapping[str, str]:
        query = select(seen.c.key, seen.c.text)
        if prefix:
            query = query.where(seen.c.key.startswith(prefix, autoescape=True))
        async with self._db.read() as conn:
            return {key: text for key, text in await conn.execute(query) if key.startswith(prefix)}  # LIKE may ignore case

    async def tell(self, events: Sequence[Event]) -> None:
        if events:
            async with self._db.write() as conn:
                await self._write_events(conn, events)

    async def _write_events(self, conn: AsyncConnection, events: Sequence[Event]) -> None:
        new = self._db.insert(told)
        upsert = new.on_conflict_do_update(
            index_elements=[told.c.key, told.c.type, told.c.reason],
            set_={
                "seq": new.excluded.seq,
                "message": new.excluded.message,
                "first": case((new.excluded.first < told.c.first, new.excluded.first), else_=told.c.first),
                "last": case((new.excluded.last > told.c.last, new.excluded.last), else_=told.c.last),
                "count": told.c["count"] + new.excluded["count"],
            },
        )
        first = await lock(conn, EVENTS)
        rows = [{**asdict(event), "seq": seq} for seq, event in enumerate(_summed(events), start=first + 1)]
        await execute_many(conn, upsert, rows)
        await advance(conn, EVENTS, first + len(rows))
        step = max(1, self._events_kept // 16)
        if (first + len(rows)) // step > first // step:  # now and then is enough
            beyond = select(told.c.seq).order_by(told.c.seq.desc()).offset(self._events_kept).limit(1).scalar_subquery()
            await conn.execute(delete(told).where(told.c.seq <= beyond))

    async def events(self, key: str | None = None, limit: int = 200) -> Sequence[Event]:
        names = ("key", "type", "reason", "message", "first", "last", "count")
        query = select(*(told.c[name] for name in names)).order_by(told.c.seq.desc()).limit(limit)
        async with self._db.read() as conn:
            rows = await conn.execute(query if key is None else query.where(told.c.key == key))
            return [Event(*row) for row in rows]

    async def record(self, revision: Revision) -> None:
        new = self._db.insert(revisions).values({**asdict(revision), "problems": [dict(one) for one in revision.problems]})
        times = {"received_at": new.excluded.received_at, "converged_at": new.excluded.converged_at}
        async with self._db.write() as conn:
            await conn.execute(new.on_conflict_do_update(index_elements=[*revisions.primary_key], set_=times))

    async def revisions(self, source: str | None = None, limit: int = 50) -> Sequence[Revision]:
        table = revisions.c
        query = select(revisions).order_by(table.received_at.desc(), table.source, table.sha, table.verdict).limit(limit)
        async with self._db.read() as conn:
            rows = (await conn.execute(query if source is None else query.where(table.source == source))).mappings()
            return [Revision(**{**row, "problems": tuple(row["problems"])}) for row in rows]

    async def converged(self, source: str, sha: str, at: datetime) -> None:
        ours = (revisions.c.source == source) & (revisions.c.sha == sha) & (revisions.c.verdict == "accepted")
        query = update(revisions).where(ours, revisions.c.converged_at.is_(None)).values(converged_at=at)
        async with self._db.write() as conn:
            await conn.execute(query)

    async def approve(self, source: str, sha: str, *, by: Actor = OURSELVES) -> None:
        ours = (revisions.c.source == source) & (revisions.c.sha == sha) & (revisions.c.verdict == "guarded")
        async with self._db.write() as conn:
            if not (await conn.execute(update(revisions).where(ours).values(approved=True))).rowcount:
                raise NotFound(f"no revision {sha} of {source} waits for approval")
            after = {"source": source, "approved": True}
            await self._trail.note(conn, [Entry(self._clock.now(), by, "approve", f"Revision/{sha}", after=after)])


async def _differing(conn: AsyncConnection, wanted: Mapping[str, Mapping[str, object]]) -> list[tuple[str, str]]:
    """Key and uid of the objects that are there and whose status is another, by key."""
    found: list[tuple[str, str]] = []
    for batch in batches(sorted(wanted)):
        rows = await conn.execute(_TOLD, {"keys": batch})
        found += [(key, uid) for key, uid, status in rows if status != wanted[uid]]
    return sorted(found)


def _digest(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _summed(events: Sequence[Event]) -> Sequence[Event]:
    """One event a (key, type, reason), in the order of their last mention."""
    found: dict[tuple[str, str, str], Event] = {}
    for event in events:
        before = found.pop((event.key, event.type, event.reason), None)
        if before:
            first, last = min(before.first, event.first), max(before.last, event.last)
            event = replace(event, count=before.count + event.count, first=first, last=last)
        found[event.key, event.type, event.reason] = event
    return list(found.values())
