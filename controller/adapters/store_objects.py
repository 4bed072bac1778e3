"""Objects and the change log.

A put compares whole sets in memory: one read of the rows concerned, one decision a row, then one statement for each
kind of write, whatever the number of objects. Every change takes the next resourceVersion and writes one line of the
change log, so that the log has no gaps, and a reader who finds one knows that it was trimmed.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.database import Database
from controller.adapters.statements import BATCH, advance, among, batches, execute_many, lock
from controller.adapters.store_queue import mark
from controller.adapters.store_requests import answered
from controller.adapters.store_rows import (
    ROWS,
    UPDATE,
    Declared,
    Row,
    created,
    declared,
    demand,
    in_force,
    kept,
    manifest,
    replaced,
    stored,
    suspended,
)
from controller.adapters.store_tombstones import Grave, put_back
from controller.adapters.store_trail import Change, Trail, sides
from controller.adapters.store_trail import changes as told
from controller.adapters.tables import RESOURCE_VERSION, changes, counters, objects, orphans, statuses
from controller.ports.audit import OURSELVES, Actor
from controller.ports.clock import Clock
from controller.ports.requests import Record
from controller.ports.store import Admission, Applied, Conflict, Gone, LogEntry, News, NotFound
from manifests.kinds import Object
from manifests.meta import PRUNE, Metadata

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
_OF = ROWS.where(among(objects.c.key))
_ORPHANS = select(orphans.c.machine)
_LOG = insert(changes)
_VERSION = select(counters.c.value).where(counters.c.name == RESOURCE_VERSION)
_MARKED = ("deleted_at", "deleted_by", "overridden_by", "overrides", "resource_version")
_DELETE = update(objects).where(objects.c.key == bindparam("row")).values({name: bindparam(name) for name in _MARKED})
_PULSE = f"SELECT value FROM counters WHERE name = '{RESOURCE_VERSION}'"  # noqa: S608 our own word
_NEWS = (
    select(
        changes.c.resource_version.label("number"),
        changes.c.key.label("changed"),
        changes.c.type.label("change"),
        *ROWS.selected_columns,
    )
    .select_from(changes.outerjoin(objects, objects.c.key == changes.c.key).outerjoin(statuses))
    .where(changes.c.resource_version > bindparam("since"))
    .order_by(changes.c.resource_version)
)


class Objects:
    _db: Database
    _clock: Clock
    _trail: Trail
    _changes_kept: int
    _grave: Grave

    async def get(self, key: str) -> Object:
        async with self._db.read() as conn:
            row = (await conn.execute(ROWS.where(objects.c.key == key))).mappings().one_or_none()
        if row is None:
            raise NotFound(f"there is no {key}")
        return manifest(row)

    async def fetch(self, keys: Collection[str]) -> Mapping[str, Object]:
        async with self._db.read() as conn:
            return await _read(conn, keys)

    async def list(self, kind: str | None = None) -> tuple[Sequence[Object], int]:
        query = ROWS.order_by(objects.c.key)
        if kind is not None:
            query = query.where(objects.c.key > f"{kind}/", objects.c.key < f"{kind}0")  # "0" follows "/": by the index
        found: list[Object] = []
        async with self._db.read() as conn:
            version = int((await conn.execute(_VERSION)).scalar_one())
            async for rows in (await conn.stream(query)).mappings().partitions(BATCH):
                found += map(manifest, rows)
        return found, version

    async def versions(self) -> Mapping[str, int]:
        async with self._db.read() as conn:
            rows = (await conn.execute(select(objects.c.key, objects.c.resource_version))).all()
        return dict(rows)

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
        revive: Mapping[str, str] | None = None,
        record: Record | None = None,
        admission: Admission | None = None,
        by: Actor | None = None,
    ) -> Applied:
        wanted = await declared(objects)
        async with self._db.write(dry_run=dry_run) as conn:
            version = await lock(conn, RESOURCE_VERSION)
            if admission is not None:
                await admission.admit(await _news(conn, admission.known, version))
            rows = await stored(conn, wanted.keys() | (expect or {}).keys())
            demand(expect or {}, rows)
            new = {key: one for key, one in wanted.items() if key not in rows}
            revived = await self._grave.opened(conn, revive, now) if revive else {}
            fresh = list(created(new, manager, now, revived))
            pairs = [replaced(rows[key], one, manager, force) for key, one in wanted.items() if key in rows]
            changed = [values for values in pairs if values is not None]
            pruned = await _prunable(conn, manager, wanted.keys(), now) if prune else []
            if prune:
                await put_back(conn, manager)
            version = await self._write(conn, version, fresh, changed, pruned)
            added = tuple(values["key"] for values in fresh)
            moved = tuple(values["row"] for values in changed)
            await _adopt(conn, [wanted[key] for key in (*added, *moved)])
            applied = Applied(added, moved, tuple(v["row"] for v in pruned), len(pairs) - len(changed), version)
            if record is not None:
                await answered(conn, record, applied, await _read(conn, wanted))
            if not dry_run:
                await self._trail.append(conn, by or Actor(manager), now, list(told(rows, fresh, changed, pruned)))
        return applied

    async def mark_deleted(
        self,
        keys: Sequence[str],
        now: datetime,
        *,
        who: str = "",
        annotations: Mapping[str, str | None] | None = None,
        expect: Mapping[str, int] | None = None,
        dry_run: bool = False,
        admission: Admission | None = None,
        by: Actor = OURSELVES,
    ) -> Applied:
        wanted = sorted(set(keys))
        async with self._db.write(dry_run=dry_run) as conn:
            version = await lock(conn, RESOURCE_VERSION)
            if admission is not None:
                await admission.admit(await _news(conn, admission.known, version))
            rows = await stored(conn, {*wanted, *(expect or {})})
            missing = [key for key in wanted if key not in rows]
            if missing:
                raise NotFound(f"there is no {', '.join(missing)}")
            demand(expect or {}, rows)
            marks = [_marked(rows[key], now, who, annotations or {}) for key in wanted]
            written = [values for values in marks if values is not None]
            version = await self._write(conn, version, [], [], written)
            if not dry_run:
                await self._trail.append(conn, by, now, list(told(rows, [], [], written)))
        fresh = tuple(values["row"] for values in written if rows[values["row"]]["deleted_at"] is None)
        return Applied(deleted=fresh, unchanged=len(wanted) - len(fresh), resource_version=version)

    async def remove(self, key: str, uid: str, now: datetime, *, orphan: str | None = None, by: Actor = OURSELVES) -> None:
        async with self._db.write() as conn:
            version = await lock(conn, RESOURCE_VERSION)
            row = (await stored(conn, [key])).get(key)
            if row is None or row["uid"] != uid:
                return
            if row["deleted_at"] is None:
                raise Conflict(f"{key} is wanted again: it is not removed")
            await self._grave.bury(conn, row, now)
            await conn.execute(delete(objects).where(objects.c.uid == uid))
            await write_log(conn, version, [(key, "DELETED")], self._changes_kept)
            if orphan is not None:
                await conn.execute(self._db.insert(orphans).values(machine=orphan).on_conflict_do_nothing())
            await self._trail.append(conn, by, now, [Change(key, "remove", sides(row), None)])

    async def overridden(self, manager: str) -> Mapping[str, str]:
        query = select(objects).where(objects.c.managed_by == manager, objects.c.overridden_by.is_not(None))
        async with self._db.read() as conn:
            rows = (await conn.execute(query)).mappings().all()
            buried = await self._grave.overridden(conn, manager)
        return {**buried, **{row["key"]: row["overridden_by"] for row in rows if not suspended(row)}}

    async def orphans(self) -> frozenset[str]:
        async with self._db.read() as conn:
            return frozenset((await conn.execute(_ORPHANS)).scalars())

    async def annotate(self, key: str, annotations: Mapping[str, str | None], *, by: Actor = OURSELVES) -> None:
        async with self._db.write() as conn:
            version = await lock(conn, RESOURCE_VERSION)
            row = (await stored(conn, [key])).get(key)
            if row is None:
                raise NotFound(f"there is no {key}")
            overrides = _laid_over(row, annotations)
            after = {**row, "overrides": overrides}
            if in_force(after) == in_force(row):
                return
            Metadata(name=row["name"], annotations=in_force(after))
            values = {**kept(row), "overrides": overrides}
            await self._write(conn, version, [], [values], [])
            await self._trail.append(conn, by, self._clock.now(), list(told({key: row}, [], [values], [], "annotate")))

    async def changes(self, since: int, limit: int = 500) -> Sequence[LogEntry]:
        query = select(changes).where(changes.c.resource_version > since).order_by(changes.c.resource_version).limit(limit)
        async with self._db.read() as conn:
            version = int((await conn.execute(_VERSION)).scalar_one())
            rows = (await conn.execute(query)).all()
        _reaches(since, version, rows[0][0] if rows else None)
        return [LogEntry(*row) for row in rows]

    async def news(self, since: int) -> Sequence[News]:
        async with self._db.read() as conn:
            return await _news(conn, since, int((await conn.execute(_VERSION)).scalar_one()))

    async def pulse(self) -> int:
        return await self._db.scalar(_PULSE)

    async def _write(
        self,
        conn: AsyncConnection,
        version: int,
        created: Sequence[dict[str, Any]],
        changed: Sequence[dict[str, Any]],
        deleted: Sequence[dict[str, Any]],
    ) -> int:
        """Gives out resourceVersions, writes rows and log, marks the keys dirty; the last resourceVersion."""
        if not created and not changed and not deleted:
            return version
        log: list[tuple[str, ChangeType]] = [(values["key"], "ADDED") for values in created]
        log += [(values["row"], "MODIFIED") for values in changed]
        log += [(values["row"], "MODIFIED") for values in deleted]
        for number, values in enumerate([*created, *changed, *deleted], start=version + 1):
            values["resource_version"] = number
        await execute_many(conn, insert(objects), created)
        await execute_many(conn, UPDATE, changed)
        await execute_many(conn, _DELETE, deleted)
        await mark(self._db, conn, [key for key, _ in log])
        return await write_log(conn, version, log, self._changes_kept)


async def _news(conn: AsyncConnection, since: int, version: int) -> Sequence[News]:
    """Needs a transaction that sees one moment, or the counter's lock. Gone."""
    if since == version:
        return ()
    rows = [row async for row in (await conn.stream(_NEWS, {"since": since})).mappings()]
    _reaches(since, version, rows[0]["number"] if rows else None)
    found: dict[str, Object] = {}
    for row in rows:
        if row["key"] is not None and row["key"] not in found:
            found[row["key"]] = manifest(row)
    return [News(LogEntry(row["number"], row["changed"], row["change"]), found.get(row["changed"])) for row in rows]


def _reaches(since: int, version: int, first: int | None) -> None:
    """Gone unless the log goes on right after ``since``."""
    if since > version or (since < version and first != since + 1):
        raise Gone(f"the change log does not hold what follows resourceVersion {since}: list again and go on from there")


async def write_log(conn: AsyncConnection, version: int, log: Sequence[tuple[str, ChangeType]], kept: int) -> int:
    """Needs the counter's lock and its value; the new value. The newest ``kept`` lines stay, and a few more."""
    last = version + len(log)
    numbered = enumerate(log, start=version + 1)
    rows = [{"resource_version": number, "key": key, "type": change} for number, (key, change) in numbered]
    await execute_many(conn, _LOG, rows)
    await advance(conn, RESOURCE_VERSION, last)
    step = max(1, kept // 16)
    if last // step > version // step:
        await conn.execute(delete(changes).where(changes.c.resource_version <= last - kept))
    return last


async def _prunable(conn: AsyncConnection, manager: str, wanted: Collection[str], now: datetime) -> list[dict[str, Any]]:
    query = (
        select(objects.c.key, objects.c.annotations, objects.c.overrides)
        .where(objects.c.managed_by == manager, objects.c.deleted_at.is_(None))
        .order_by(objects.c.key)
    )
    rows = (await conn.execute(query)).mappings()
    gone = [row for row in rows if row["key"] not in wanted and in_force(row).get(PRUNE) != "disabled"]
    common = {"deleted_at": now, "deleted_by": manager, "overridden_by": None}
    return [{"row": row["key"], "overrides": row["overrides"], **common} for row in gone]


def _marked(row: Row, now: datetime, who: str, annotations: Mapping[str, str | None]) -> dict[str, Any] | None:
    """The values for ``_DELETE``; None when it is marked already and says all this."""
    overrides = _laid_over(row, annotations)
    if row["deleted_at"] is not None and overrides == row["overrides"]:
        return None
    taken = row["managed_by"].startswith("git:") and who.startswith("api:")
    fresh = row["deleted_at"] is None
    return {
        "row": row["key"],
        "deleted_at": now if fresh else row["deleted_at"],
        "deleted_by": who if fresh else row["deleted_by"],
        "overridden_by": who if fresh and taken else row["overridden_by"],
        "overrides": overrides,
    }


def _laid_over(row: Row, annotations: Mapping[str, str | None]) -> dict[str, str | None]:
    """The annotations set by hand, with these among them; none that only repeats what is declared."""
    both = {**row["overrides"], **annotations}
    return {name: value for name, value in both.items() if row["annotations"].get(name) != value}


async def _read(conn: AsyncConnection, keys: Collection[str]) -> dict[str, Object]:
    found: dict[str, Object] = {}
    for some in batches(sorted(keys)):
        rows = (await conn.execute(_OF, {"keys": some})).mappings()
        found |= {row["key"]: manifest(row) for row in rows}
    return found


async def _adopt(conn: AsyncConnection, written: Sequence[Declared]) -> None:
    """A machine that gets a session again is looked after again."""
    machines = [one.spec["machine"] for one in written if one.kind == "Session"]
    for batch in batches(machines):
        await conn.execute(delete(orphans).where(orphans.c.machine.in_(batch)))
