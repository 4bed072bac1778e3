"""What was deleted: kept for some days, so many at most. The oldest are forgotten in the transactions that add more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, insert, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.database import Database
from controller.adapters.store_rows import Row, in_force, manifest
from controller.adapters.tables_resources import tombstones as buried
from controller.ports.store import NotFound
from controller.ports.tombstones import Place, Tombstone
from manifests.meta import DISRUPTION

_TRIMMED = 100
_SAME = ("uid", "key", "generation", "created_at", "managed_by", "overridden_by", "labels", "spec", "deleted_at")


@dataclass(frozen=True, slots=True)
class Grave:
    """``days`` 0 keeps nothing, but that a source has something to put back."""

    days: int
    most: int

    async def bury(self, conn: AsyncConnection, row: Row, now: datetime) -> None:
        if self.days or row["overridden_by"] is not None:
            annotations = {name: value for name, value in in_force(row).items() if name != DISRUPTION}  # given for once
            who = row["deleted_by"] or row["managed_by"]
            same = {name: row[name] for name in _SAME}
            await conn.execute(insert(buried).values(**same, annotations=annotations, removed_at=now, who=who))
        await self._trim(conn, now)

    async def opened(self, conn: AsyncConnection, uids: Mapping[str, str], now: datetime) -> Mapping[str, Row]:
        """By key, and out of the table. NotFound."""
        wanted = and_(buried.c.uid.in_(sorted(uids.values())), buried.c.removed_at > self._forgotten(now))
        rows = (await conn.execute(select(buried).where(wanted))).mappings().all()
        found = {row["key"]: row for row in rows if uids.get(row["key"]) == row["uid"]}
        if missing := sorted(uids.keys() - found.keys()):
            raise NotFound(f"{', '.join(missing)} cannot be restored any more")
        await conn.execute(delete(buried).where(wanted))
        return found

    async def overridden(self, conn: AsyncConnection, manager: str) -> dict[str, str]:
        query = select(buried.c.key, buried.c.overridden_by).where(_taken(manager))
        return dict((await conn.execute(query)).all())

    def _forgotten(self, now: datetime) -> datetime:
        return now - timedelta(days=self.days)

    async def _trim(self, conn: AsyncConnection, now: datetime) -> None:
        c = buried.c
        order = (c.removed_at.desc(), c.uid.desc())
        last = (await conn.execute(select(c.removed_at, c.uid).order_by(*order).offset(self.most).limit(1))).one_or_none()
        beyond = [c.removed_at <= self._forgotten(now)]
        if last is not None:
            beyond.append(or_(c.removed_at < last.removed_at, and_(c.removed_at == last.removed_at, c.uid <= last.uid)))
        old = select(c.uid).where(or_(*beyond), c.overridden_by.is_(None)).order_by(c.removed_at, c.uid).limit(_TRIMMED)
        await conn.execute(delete(buried).where(c.uid.in_(old)))


async def put_back(conn: AsyncConnection, manager: str) -> None:
    """The source has had its say on what was deleted by force: if it declares it, it is there again."""
    await conn.execute(update(buried).where(_taken(manager)).values(overridden_by=null()))


def _taken(manager: str) -> Any:
    return and_(buried.c.managed_by == manager, buried.c.overridden_by.is_not(None))


class Tombstones:
    _db: Database
    _grave: Grave

    async def tombstones(
        self, now: datetime, *, key: str | None = None, kind: str | None = None, after: Place | None = None, limit: int = 500
    ) -> Sequence[Tombstone]:
        c = buried.c
        query = select(buried).where(c.removed_at > now - timedelta(days=self._grave.days))
        query = query.order_by(c.removed_at.desc(), c.uid.desc()).limit(limit)
        if key is not None:
            query = query.where(c.key == key)
        if kind is not None:
            query = query.where(c.key > f"{kind}/", c.key < f"{kind}0")
        if after is not None:
            at, uid = after
            query = query.where(or_(c.removed_at < at, and_(c.removed_at == at, c.uid < uid)))
        async with self._db.read() as conn:
            rows = (await conn.execute(query)).mappings().all()
        return [self._read(row) for row in rows]

    def _read(self, row: Row) -> Tombstone:
        kind, _, name = row["key"].partition("/")
        rest = {"kind": kind, "name": name, "overrides": {}, "resource_version": 0, "status_version": None, "status": None}
        until = row["removed_at"] + timedelta(days=self._grave.days)
        return Tombstone(manifest({**row, **rest}), row["who"], row["removed_at"], until)
