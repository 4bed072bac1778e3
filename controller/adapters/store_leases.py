"""Leases with epochs: who may write for a boot server. An epoch is given out once; writes name it (fencing token)."""

from datetime import datetime, timedelta

from sqlalchemy import Update, bindparam, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.database import Database
from controller.adapters.tables import leases
from controller.ports.store import Fenced, Lease

_HELD = select(leases.c.holder, leases.c.epoch).where(leases.c.name == bindparam("lease")).with_for_update(read=True)


async def fence(conn: AsyncConnection, lease: Lease) -> None:
    """Until this transaction ends nobody can take the lease over. Fenced if somebody has."""
    row = (await conn.execute(_HELD, {"lease": lease.name})).one_or_none()
    if row is None or (row.holder, row.epoch) != (lease.holder, lease.epoch):
        raise _fenced(lease)


def _fenced(lease: Lease) -> Fenced:
    return Fenced(f"{lease.holder} no longer holds {lease.name} (epoch {lease.epoch}): another controller has taken over")


def _ours(lease: Lease) -> Update:
    return update(leases).where(leases.c.name == lease.name, leases.c.holder == lease.holder, leases.c.epoch == lease.epoch)


class Leases:
    _db: Database

    async def acquire(self, name: str, holder: str, now: datetime, seconds: float) -> Lease | None:
        expires = now + timedelta(seconds=seconds)
        new = self._db.insert(leases).values(name=name, holder=holder, epoch=1, expires=expires)
        free = leases.c.holder.is_(None) | (leases.c.holder == holder) | (leases.c.expires <= now)
        query = new.on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={"holder": holder, "epoch": leases.c.epoch + 1, "expires": expires},
            where=free,
        )
        async with self._db.write() as conn:
            row = (await conn.execute(query.returning(leases.c.epoch))).one_or_none()
        return None if row is None else Lease(name, holder, row.epoch, expires)

    async def renew(self, lease: Lease, now: datetime, seconds: float) -> Lease:
        expires = now + timedelta(seconds=seconds)
        async with self._db.write() as conn:
            if not (await conn.execute(_ours(lease).values(expires=expires))).rowcount:
                raise _fenced(lease)
        return Lease(lease.name, lease.holder, lease.epoch, expires)

    async def release(self, lease: Lease) -> None:
        async with self._db.write() as conn:
            await conn.execute(_ours(lease).values(holder=null()))

    async def lease(self, name: str) -> Lease | None:
        async with self._db.read() as conn:
            query = select(leases).where(leases.c.name == name, leases.c.holder.is_not(None))
            row = (await conn.execute(query)).one_or_none()
        return None if row is None else Lease(*row)
