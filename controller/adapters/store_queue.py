"""The dirty set: which keys want a look, durably.

A row's ``seq`` is new when the key enters the set, when it is handed out, and when it is first marked after that;
``claimed`` is the ``seq`` it was handed out with. So a claim names one hand-out and no other, a key was marked again
exactly if ``seq`` is above ``claimed``, and the oldest key is the one with the lowest ``seq``.

That a key is marked must outlive a power cut. That it was handed out or done need not: it is looked at once more.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from itertools import groupby

from sqlalchemy import BigInteger, Executable, and_, bindparam, case, delete, func, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.database import Database
from controller.adapters.statements import advance, among, batches, execute_many, following, lock
from controller.adapters.tables import DIRTY, dirty
from controller.ports.store import Claim

AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
_FREE = dirty.c.claimed.is_(None)


_DUE = select(dirty.c.key, dirty.c.attempts).where(_FREE, dirty.c.not_before <= bindparam("now"))
_FIRST = _DUE.order_by(dirty.c.priority.desc(), dirty.c.seq, dirty.c.key).limit(bindparam("most"))
_OLDEST = _DUE.order_by(dirty.c.seq, dirty.c.key).limit(1)
_TAKEN = bindparam("taken", type_=BigInteger)
_TAKE = update(dirty).where(among(dirty.c.key)).values(claimed=_TAKEN, seq=_TAKEN)
_OURS = and_(among(dirty.c.key), dirty.c.claimed == _TAKEN)
_DONE = delete(dirty).where(_OURS, dirty.c.seq == _TAKEN)
_AGAIN = update(dirty).where(_OURS).values(claimed=null(), attempts=0)
_NEXT_DUE = select(func.min(dirty.c.not_before)).where(_FREE)


def _mark(db: Database) -> Executable:
    new, old = db.insert(dirty), dirty.c
    fresh = old.claimed == old.seq
    higher = or_(fresh, new.excluded.priority > old.priority)
    earlier = or_(fresh, new.excluded.not_before < old.not_before)
    return new.on_conflict_do_update(
        index_elements=[old.key],
        set_={
            "priority": case((higher, new.excluded.priority), else_=old.priority),
            "not_before": case((earlier, new.excluded.not_before), else_=old.not_before),
            "seq": case((fresh, new.excluded.seq), else_=old.seq),
        },
    )


async def mark(
    db: Database, conn: AsyncConnection, keys: Collection[str], priority: int = 0, not_before: datetime | None = None
) -> None:
    seq = await following(conn, DIRTY)
    common = {"priority": priority, "seq": seq, "not_before": not_before or AT_ONCE, "attempts": 0, "claimed": None}
    await execute_many(conn, db.once(_mark), [{"key": key, **common} for key in sorted(set(keys))])


class Queue:
    _db: Database

    async def mark(self, keys: Collection[str], *, priority: int = 0, not_before: datetime | None = None) -> None:
        if keys:
            async with self._db.write() as conn:
                await mark(self._db, conn, keys, priority, not_before)

    async def claim(self, now: datetime, limit: int) -> Sequence[Claim]:
        async with self._db.write(durable=False) as conn:
            seq = await lock(conn, DIRTY) + 1
            rows = (await conn.execute(_FIRST, {"now": now, "most": limit})).all()
            if not rows:
                return ()
            if len(rows) == limit > 1:
                starving = (await conn.execute(_OLDEST, {"now": now})).one()
                rows = rows if starving in rows else [*rows[:-1], starving]
            for batch in batches([key for key, _ in rows]):
                await conn.execute(_TAKE, {"keys": batch, "taken": seq})
            await advance(conn, DIRTY, seq)
        return [Claim(key, seq, attempts) for key, attempts in rows]

    async def done(self, claims: Sequence[Claim]) -> None:
        if not claims:
            return
        async with self._db.write(durable=False) as conn:
            await lock(conn, DIRTY)
            for seq, group in groupby(sorted(claims, key=lambda claim: claim.seq), key=lambda claim: claim.seq):
                for batch in batches([claim.key for claim in group]):
                    if (await conn.execute(_DONE, {"keys": batch, "taken": seq})).rowcount < len(batch):
                        await conn.execute(_AGAIN, {"keys": batch, "taken": seq})

    async def retry(self, claim: Claim, not_before: datetime) -> None:
        sooner = and_(dirty.c.seq > dirty.c.claimed, dirty.c.not_before < not_before)
        later = case((sooner, dirty.c.not_before), else_=not_before)
        query = update(dirty).where(dirty.c.key == claim.key, dirty.c.claimed == claim.seq)
        async with self._db.write(durable=False) as conn:
            await lock(conn, DIRTY)
            await conn.execute(query.values(claimed=null(), attempts=claim.attempts + 1, not_before=later))

    async def reopen(self) -> int:
        async with self._db.write() as conn:
            await lock(conn, DIRTY)
            return (await conn.execute(update(dirty).where(~_FREE).values(claimed=null()))).rowcount

    async def waiting(self) -> int:
        async with self._db.read() as conn:
            return int((await conn.execute(select(func.count()).select_from(dirty))).scalar_one())

    async def next_due(self) -> datetime | None:
        async with self._db.read() as conn:
            due: datetime | None = (await conn.execute(_NEXT_DUE)).scalar_one()
            return due
