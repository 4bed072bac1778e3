"""The audit log read, verified, pruned, and people's names in it forgotten."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import anyio.lowlevel
from sqlalchemy import Row, Select, delete, func, or_, select, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.statements import BATCH, batches, lock
from controller.adapters.store_objects import Objects
from controller.adapters.store_rows import ROWS, kept
from controller.adapters.store_rows import Row as Stored
from controller.adapters.store_trail import USER, digest, instant, locked, mark, set_mark, user
from controller.adapters.tables import CHECKPOINT, HEAD, RESOURCE_VERSION, actors, audit, objects, webhooks
from controller.adapters.tables_bindings import bindings
from controller.adapters.tables_resources import requests, tombstones
from controller.core.chain import Check, Finding, Link, Mark, Said
from controller.ports.audit import Actor, Asked, Audited, Entry, Verified

ERASE, PRUNE = "erase", "audit-prune"
_LOOKED_AT = 250  # rows between two breaths of the event loop
_SKEW = timedelta(hours=1)  # between the clocks of those who write
_NAMED = 40  # what one row of an erasure names
_NOBODY = "api:erased"
_OWNERS = ("managed_by", "overridden_by", "deleted_by")


class Audits(Objects):
    async def note(self, entries: Sequence[Entry]) -> None:
        if entries:
            async with self._db.write() as conn:
                await self._trail.note(conn, entries)

    async def audit(self, asked: Asked) -> Sequence[Audited]:
        query = select(audit).order_by(audit.c.seq.desc()).limit(asked.limit)
        if asked.action is not None:
            query = query.where(audit.c.action == asked.action)
        if asked.below is not None:
            query = query.where(audit.c.seq < asked.below)
        async with self._db.read() as conn:
            if asked.who is not None:
                query = query.where(audit.c.actor.in_(await _ids(conn, asked.who)))
            if asked.object is not None:
                query = await _concerning(conn, query, asked.object)
            if asked.since is not None:
                old = select(audit.c.seq).where(audit.c.at < asked.since - _SKEW).order_by(audit.c.seq.desc()).limit(1)
                newest = (await conn.execute(old)).scalar_one_or_none() or 0
                query = query.where(audit.c.seq > newest, audit.c.at >= asked.since)
            return await _read(conn, query)

    async def audit_about(self, user: str) -> Sequence[Audited]:
        found: list[Audited] = []
        while True:
            async with self._db.read() as conn:
                ids = await _ids(conn, user, sources=False)
                after = found[-1].seq if found else 0
                mine = or_(audit.c.actor.in_(ids), audit.c.subject.in_(ids))
                query = select(audit).where(mine, audit.c.seq > after).order_by(audit.c.seq).limit(BATCH)
                rows = await _read(conn, query)
            found += rows
            if len(rows) < BATCH:
                return found

    async def verify_audit(self, noted: Mark | None = None) -> Verified:
        looked: _Look | None = None
        while True:
            async with self._db.read() as conn:
                head, checkpoint = await mark(conn, HEAD), await mark(conn, CHECKPOINT)
                if looked is None or checkpoint.seq > looked.check.last.seq:  # pruned while we looked
                    looked = _Look(checkpoint, Check(checkpoint, noted))
                at = looked.check.last.seq
                query = select(audit).where(audit.c.seq > at).order_by(audit.c.seq).limit(_LOOKED_AT)
                links = [_link(row) for row in await conn.execute(query)]
                await looked.at(conn, links)
            await anyio.lowlevel.checkpoint()
            if len(links) < _LOOKED_AT:
                return looked.finish(head)

    async def prune_audit(self, before: datetime, by: Actor, now: datetime) -> int:
        async with self._db.write() as conn:
            await locked(conn)
            young = select(audit.c.seq).where(audit.c.at >= before).order_by(audit.c.seq).limit(1)
            first = (await conn.execute(young)).scalar_one_or_none()
            query = select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
            last = (await conn.execute(query if first is None else query.where(audit.c.seq < first))).one_or_none()
            if last is None:
                return 0
            rows = (await conn.execute(select(func.count()).where(audit.c.seq <= last.seq))).scalar_one()
            to = Mark(last.seq, last.hash)
            await self._trail.note(conn, [Entry(now, by, PRUNE, after={"through": to.seq, "hash": to.hash, "rows": rows})])
            await set_mark(conn, CHECKPOINT, to)
            await conn.execute(delete(audit).where(audit.c.seq <= to.seq))
            used = union(select(audit.c.actor), select(audit.c.subject).where(audit.c.subject.is_not(None)))
            await conn.execute(delete(actors).where(actors.c.id.not_in(used)))
            self._trail.forget()
        return int(rows)

    async def erase(self, user_name: str, by: Actor, now: datetime) -> Mapping[str, int]:
        name = user(user_name)
        async with self._db.write() as conn:
            version = await lock(conn, RESOURCE_VERSION)
            mine = or_(*(objects.c[field] == name for field in _OWNERS))
            rows = (await conn.execute(ROWS.where(mine))).mappings().all()
            await self._write(conn, version, [], [_disowned(row, name) for row in rows], [])
            for field in ("managed_by", "overridden_by", "who"):
                await conn.execute(update(tombstones).where(tombstones.c[field] == name).values({field: _NOBODY}))
            for table in (bindings, webhooks):
                made = table.c.created_by == name.removeprefix(USER)
                await conn.execute(update(table).where(made).values(created_by=_NOBODY.removeprefix(USER)))
            await conn.execute(delete(requests).where(requests.c.principal.in_((name, name.removeprefix(USER)))))
            await locked(conn)
            ids = (await conn.execute(select(actors.c.id).where(actors.c.name == name))).scalars().all()
            entries = [
                Entry(now, by, ERASE, after={"erased": list(ids[start : start + _NAMED])})
                for start in range(0, len(ids), _NAMED)
            ]
            if entries:
                await self._trail.note(conn, entries)
            for batch in batches(ids):
                await conn.execute(delete(actors).where(actors.c.id.in_(batch)))
            self._trail.forget()
        return {"identities": len(ids), "objects": len(rows)}


@dataclass(slots=True)
class _Look:
    """One verification: the chain, and whether those behind the digests are still who they were."""

    start: Mark
    check: Check
    rows: int = 0
    known: set[str] = field(default_factory=set)
    nameless: dict[str, int] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    pruned: Mark | None = None

    async def at(self, conn: AsyncConnection, links: Sequence[Link]) -> None:
        self.check.feed(links)
        self.rows += len(links)
        for link in links:
            if link.said.action == ERASE and link.said.after:
                self.erased |= set(json.loads(link.said.after)["erased"])
            if link.said.action == PRUNE and link.said.after:
                after = json.loads(link.said.after)
                self.pruned = Mark(after["through"], after["hash"])
        first = {one: link.seq for link in reversed(links) for one in (link.said.actor, link.said.subject) if one}
        asked = sorted(first.keys() - self.known)
        for row in await conn.execute(select(actors).where(actors.c.id.in_(asked))):
            self.known.add(row.id)
            if digest(row.salt, row.name, row.address) != row.id:
                message = f"the name behind row {first[row.id]} was altered: it does not fit its digest"
                self.check.findings.append(Finding("name", first[row.id], first[row.id], message))
        self.nameless |= {one: first[one] for one in asked if one not in self.known and one not in self.nameless}

    def finish(self, head: Mark) -> Verified:
        found = list(self.check.finish(head))
        for one, seq in self.nameless.items():
            if one not in self.erased:
                found.append(Finding("name", seq, seq, f"the name behind row {seq} was removed, and no erasure says so"))
        if (self.pruned or self.start) != self.start or (self.start.seq and self.pruned is None):
            message = f"no prune in the log ends at the checkpoint, row {self.start.seq}: rows before it were removed"
            found.append(Finding("checkpoint", self.start.seq, self.start.seq, message))
        return Verified(self.rows, head, self.start, sorted(found, key=lambda one: (one.first, one.kind)))


def _disowned(row: Stored, name: str) -> dict[str, Any]:
    """The values for the update of an object that bears this manager's name."""
    return {**kept(row), **{field: _NOBODY for field in _OWNERS if row[field] == name}}


def _link(row: Row[Any]) -> Link:
    said = Said(
        instant(row.at),
        row.actor,
        row.request_id,
        row.action,
        row.outcome,
        row.object,
        row.subject,
        row.times,
        row.before,
        row.after,
    )
    return Link(row.seq, said, row.previous, row.hash)


async def _ids(conn: AsyncConnection, name: str, *, sources: bool = True) -> Sequence[str]:
    names = {name, user(name)} if sources else {user(name)}
    return (await conn.execute(select(actors.c.id).where(actors.c.name.in_(names)))).scalars().all()


async def _concerning(conn: AsyncConnection, query: Select[Any], key: str) -> Select[Any]:
    kind, _, name = key.partition("/")
    if kind != "User":
        return query.where(audit.c.object == key)
    return query.where(audit.c.subject.in_(await _ids(conn, name, sources=False)))


async def _read(conn: AsyncConnection, query: Select[Any]) -> list[Audited]:
    rows = (await conn.execute(query)).mappings().all()
    wanted = sorted({one for row in rows for one in (row["actor"], row["subject"]) if one})
    known: dict[str, tuple[str, str]] = {}
    for batch in batches(wanted):
        found = await conn.execute(select(actors.c.id, actors.c.name, actors.c.address).where(actors.c.id.in_(batch)))
        known |= {one: (name, address) for one, name, address in found}

    def shown(one: str) -> str:
        return known[one][0] if one in known else f"erased:{one[:12]}"

    return [
        Audited(
            seq=row["seq"],
            at=row["at"],
            who=shown(row["actor"]),
            address=known.get(row["actor"], ("", ""))[1],
            request_id=row["request_id"],
            action=row["action"],
            outcome=row["outcome"],
            object=f"User/{shown(row['subject']).removeprefix('api:')}" if row["subject"] else row["object"],
            count=row["times"],
            before=None if row["before"] is None else json.loads(row["before"]),
            after=None if row["after"] is None else json.loads(row["after"]),
            hash=row["hash"],
        )
        for row in rows
    ]
