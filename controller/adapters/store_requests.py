"""Requests that may be sent twice. A row is taken (``claim``), then answered: both by one statement that says whose it is.

Who died with a ticket in hand is fenced: once another has taken the row over, its claim is not there any more, and the
transaction that would have made the change is rolled back.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.database import Database
from controller.adapters.tables_resources import requests
from controller.ports.requests import Asked, InProgress, Kept, KeyReused, Record, Ticket
from controller.ports.store import Applied
from manifests.kinds import Object

KEPT = timedelta(hours=24)
UNDER_WAY = timedelta(seconds=60)
_TRIMMED = 100


class Requests:
    _db: Database

    async def begin(self, asked: Asked, now: datetime) -> Ticket | Kept:
        ticket = Ticket(asked.id, secrets.token_hex(16))
        ours = {"digest": asked.digest, "claim": ticket.claim, "at": now}
        new = self._db.insert(requests).values(id=ticket.id, principal=asked.principal, **ours)
        async with self._db.write() as conn:
            await _trim(conn, now)
            if (await conn.execute(new.on_conflict_do_nothing().returning(requests.c.id))).one_or_none():
                return ticket
            query = select(requests).where(requests.c.id == ticket.id).with_for_update()
            row = (await conn.execute(query)).one()
            if row.at <= now - KEPT or (row.status is None and row.at <= now - UNDER_WAY):
                fresh = {**ours, "status": null(), "etag": null(), "body": null()}
                await conn.execute(update(requests).where(requests.c.id == ticket.id).values(fresh))
                return ticket
        if row.digest != asked.digest:
            raise KeyReused
        if row.status is None:
            raise InProgress
        return Kept(row.status, row.body, row.etag)

    async def keep(self, ticket: Ticket, kept: Kept) -> None:
        async with self._db.write() as conn:
            await _keep(conn, ticket, kept)

    async def abandon(self, ticket: Ticket) -> None:
        ours = (requests.c.id == ticket.id, requests.c.claim == ticket.claim, requests.c.status.is_(None))
        async with self._db.write() as conn:
            await conn.execute(delete(requests).where(*ours))


async def answered(conn: AsyncConnection, record: Record, applied: Applied, objects: Mapping[str, Object]) -> None:
    """The answer, in the transaction that makes the change. InProgress: another carries the request out by now."""
    if not await _keep(conn, record.ticket, record.compose(applied, objects)):
        raise InProgress


async def _keep(conn: AsyncConnection, ticket: Ticket, kept: Kept) -> bool:
    ours = (requests.c.id == ticket.id, requests.c.claim == ticket.claim, requests.c.status.is_(None))
    values = {"status": kept.status, "etag": kept.etag, "body": kept.body}
    return bool((await conn.execute(update(requests).where(*ours).values(values))).rowcount)


async def _trim(conn: AsyncConnection, now: datetime) -> None:
    """Some of those that are too old, each time that one is added: none waits for another that does the same."""
    old = select(requests.c.id).where(requests.c.at <= now - KEPT).order_by(requests.c.at).limit(_TRIMMED)
    await conn.execute(delete(requests).where(requests.c.id.in_(old.with_for_update(skip_locked=True))))
