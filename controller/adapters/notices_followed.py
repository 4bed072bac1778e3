"""How far the logs were followed for webhooks, and what was told last of each object.

Both exist only while a webhook is enabled: without one, changes cost nothing here. They begin in the transaction that
enables the first, at exactly that moment, so that what is committed next is told.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import BigInteger, case, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.database import Database
from controller.adapters.notices_rows import post
from controller.adapters.statements import batches, execute_many, lock
from controller.adapters.store_leases import fence
from controller.adapters.store_rows import ROWS, manifest
from controller.adapters.tables import (
    DELIVERIES,
    EVENTS,
    RESOURCE_VERSION,
    changes,
    counters,
    events,
    objects,
    revisions,
    statuses,
    webhook_cursor,
    webhook_facts,
    webhooks,
)
from controller.core.notices import Fact, Notice, Sighting, Webhook
from controller.ports.notices import Glance, Positions
from controller.ports.store import Event, Lease, Revision

_LOGS = (RESOURCE_VERSION, EVENTS)
_EVENT = ("key", "type", "reason", "message", "first", "last", "count")
_REVISION = "Revision/"
_REVISIONS = 200
_CONVERGED = "converged"


class Followed:
    _db: Database

    async def look(self, limit: int) -> Glance | None:
        async with self._db.read() as conn:
            start = await _cursor(conn)
            if start is None:
                return None
            newest = await _newest(conn)
            log = select(changes.c.resource_version, changes.c.key).order_by(changes.c.resource_version).limit(limit)
            lines = (await conn.execute(log.where(changes.c.resource_version > start.changes))).all()
            trimmed = start.changes < newest.changes and (not lines or lines[0].resource_version != start.changes + 1)
            if trimmed or start.changes > newest.changes:
                return Glance(start, newest, gap=True)
            told, seq = await _told(conn, start.events, limit)
            keys = tuple(dict.fromkeys(line.key for line in lines))
            before = await _facts(conn, {*keys, *(event.key for event in told)})
            now = await _sightings(conn, {*keys, *(event.key for event in told)})
            end = Positions(lines[-1][0] if lines else start.changes, seq)
            labels = {key: fact.labels for key, fact in before.items()} | {key: one.fact.labels for key, one in now.items()}
            return Glance(start, end, False, keys, before, now, labels, told, await _revisions(conn))

    async def take(self, lease: Lease, glance: Glance, notices: Sequence[tuple[Webhook, Notice]], now: datetime) -> None:
        async with self._db.write() as conn:
            await fence(conn, lease)
            await lock(conn, DELIVERIES)
            if await _cursor(conn) != glance.start:
                return
            standing = set((await conn.execute(select(webhooks.c.id).where(webhooks.c.enabled.is_(True)))).scalars())
            await post(conn, [(webhook, notice) for webhook, notice in notices if webhook.id in standing], now)
            if glance.gap:
                await forget(conn)
                await begin(conn)
            else:
                await self._remember(conn, glance)
                await _move(conn, glance.end)

    async def _remember(self, conn: AsyncConnection, glance: Glance) -> None:
        rows = [_fact_row(key, glance.now[key].fact) for key in glance.keys if key in glance.now]
        rows += [_revision_row(revision) for revision in glance.revisions]
        new = self._db.insert(webhook_facts)
        rest = {name: new.excluded[name] for name in ("uid", "version", "phase", "labels")}
        await execute_many(conn, new.on_conflict_do_update(index_elements=[webhook_facts.c.key], set_=rest), rows)
        for batch in batches([key for key in glance.keys if key not in glance.now]):
            await conn.execute(delete(webhook_facts).where(webhook_facts.c.key.in_(batch)))


async def settle(conn: AsyncConnection) -> None:
    """Follows the logs from now on if a webhook is enabled, and no longer if none is. Needs the deliveries' lock."""
    wanted = (await conn.execute(select(webhooks.c.id).where(webhooks.c.enabled.is_(True)).limit(1))).first() is not None
    standing = await _cursor(conn) is not None
    if wanted and not standing:
        await begin(conn)
    elif standing and not wanted:
        await forget(conn)


async def begin(conn: AsyncConnection) -> None:
    """Everything as it is now counts as told. The logs' counters are held, so that nothing is committed meanwhile."""
    rows = [{"name": log, "value": await lock(conn, log)} for log in _LOGS]
    await execute_many(conn, insert(webhook_cursor), rows)
    phase = func.coalesce(statuses.c.status["phase"].as_string(), "Pending")
    told = select(objects.c.key, objects.c.uid, objects.c.resource_version, phase, objects.c.labels)
    names = ["key", "uid", "version", "phase", "labels"]
    await conn.execute(insert(webhook_facts).from_select(names, told.join_from(objects, statuses, isouter=True)))
    state = case((revisions.c.converged_at.is_(None), ""), else_=_CONVERGED)
    key = literal(_REVISION) + revisions.c.source + "/" + revisions.c.sha + "/" + revisions.c.verdict
    read = select(key, literal(""), literal(0, BigInteger), state, literal({}, webhook_facts.c.labels.type))
    await conn.execute(insert(webhook_facts).from_select(names, read))


async def forget(conn: AsyncConnection) -> None:
    await conn.execute(delete(webhook_cursor))
    await conn.execute(delete(webhook_facts))


async def _cursor(conn: AsyncConnection) -> Positions | None:
    rows = dict((await conn.execute(select(webhook_cursor.c.name, webhook_cursor.c.value))).all())
    return Positions(rows[RESOURCE_VERSION], rows[EVENTS]) if rows else None


async def _newest(conn: AsyncConnection) -> Positions:
    query = select(counters.c.name, counters.c.value).where(counters.c.name.in_(_LOGS))
    rows = dict((await conn.execute(query)).all())
    return Positions(rows[RESOURCE_VERSION], rows[EVENTS])


async def _move(conn: AsyncConnection, end: Positions) -> None:
    for name, value in ((RESOURCE_VERSION, end.changes), (EVENTS, end.events)):
        await conn.execute(update(webhook_cursor).where(webhook_cursor.c.name == name).values(value=value))


async def _told(conn: AsyncConnection, since: int, limit: int) -> tuple[tuple[Event, ...], int]:
    columns = [events.c[name] for name in (*_EVENT, "seq")]
    rows = (await conn.execute(select(*columns).where(events.c.seq > since).order_by(events.c.seq).limit(limit))).all()
    return tuple(Event(*row[:-1]) for row in rows), rows[-1].seq if rows else since


async def _facts(conn: AsyncConnection, keys: Collection[str]) -> Mapping[str, Fact]:
    found: dict[str, Fact] = {}
    for batch in batches(sorted(keys)):
        rows = (await conn.execute(select(webhook_facts).where(webhook_facts.c.key.in_(batch)))).all()
        found |= {row.key: Fact(row.uid, row.version, row.phase, row.labels) for row in rows}
    return found


async def _sightings(conn: AsyncConnection, keys: Collection[str]) -> Mapping[str, Sighting]:
    found: dict[str, Sighting] = {}
    for batch in batches(sorted(keys)):
        for row in (await conn.execute(ROWS.where(objects.c.key.in_(batch)))).mappings():
            item = manifest(row)
            phase = item.status.phase if item.status else "Pending"
            fact = Fact(row["uid"], row["resource_version"], phase, dict(item.metadata.labels))
            found[item.key] = Sighting(fact, item.metadata.deleted_at is not None, item.wire())
    return found


async def _revisions(conn: AsyncConnection) -> tuple[Revision, ...]:
    """Of the newest those that were not told yet, or have converged since; the oldest first."""
    latest = select(revisions).order_by(revisions.c.received_at.desc()).limit(_REVISIONS)
    found = [Revision(**{**row, "problems": tuple(row["problems"])}) for row in (await conn.execute(latest)).mappings()]
    told = await _facts(conn, [_revision_key(one) for one in found])
    return tuple(
        one
        for one in reversed(found)
        if (fact := told.get(_revision_key(one))) is None or fact.phase != _revision_state(one)
    )


def _fact_row(key: str, fact: Fact) -> dict[str, object]:
    return {"key": key, "uid": fact.uid, "version": fact.version, "phase": fact.phase, "labels": dict(fact.labels)}


def _revision_key(revision: Revision) -> str:
    return f"{_REVISION}{revision.source}/{revision.sha}/{revision.verdict}"


def _revision_state(revision: Revision) -> str:
    return _CONVERGED if revision.converged_at else ""


def _revision_row(revision: Revision) -> dict[str, object]:
    return _fact_row(_revision_key(revision), Fact("", 0, _revision_state(revision), {}))
