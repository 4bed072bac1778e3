"""Webhooks and what is on its way to them, in the database. All writers that add or remove take the deliveries' counter
first, so that they wait for each other in one order."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import delete, func, insert, select, update

from controller.adapters.database import Database
from controller.adapters.notices_followed import Followed, settle
from controller.adapters.notices_queue import Queue
from controller.adapters.notices_rows import all_webhooks, no_webhook, one_delivery, one_webhook, post
from controller.adapters.statements import lock
from controller.adapters.store_trail import Trail
from controller.adapters.tables import DELIVERIES, deliveries, webhooks
from controller.core.notices import Delivery, Notice, Undelivered, Webhook
from controller.ports.audit import Entry
from controller.ports.notices import Full

MOST = 100


class SqlNotices(Followed, Queue):
    """Answers ``Notices``."""

    def __init__(self, database: Database, trail: Trail) -> None:
        self._db = database
        self._trail = trail

    async def webhooks(self) -> Sequence[Webhook]:
        async with self._db.read() as conn:
            return await all_webhooks(conn)

    async def webhook(self, identifier: str) -> Webhook:
        async with self._db.read() as conn:
            return await one_webhook(conn, identifier)

    async def add(self, webhook: Webhook, told: Entry) -> None:
        async with self._db.write() as conn:
            await lock(conn, DELIVERIES)
            if (await conn.execute(select(func.count()).select_from(webhooks))).scalar_one() >= MOST:
                raise Full(f"There are {MOST} webhooks, which is as many as there may be: delete one first.")
            await conn.execute(insert(webhooks).values(asdict(webhook)))
            await settle(conn)
            await self._trail.note(conn, [told])

    async def change(self, identifier: str, values: Mapping[str, Any], told: Entry) -> Webhook:
        async with self._db.write() as conn:
            await lock(conn, DELIVERIES)
            if values:
                await conn.execute(update(webhooks).where(webhooks.c.id == identifier).values(dict(values)))
            found = await one_webhook(conn, identifier)
            await settle(conn)
            await self._trail.note(conn, [told])
        return found

    async def drop(self, identifier: str, told: Entry) -> None:
        async with self._db.write() as conn:
            await lock(conn, DELIVERIES)
            if not (await conn.execute(delete(webhooks).where(webhooks.c.id == identifier))).rowcount:
                raise no_webhook(identifier)
            await settle(conn)
            await self._trail.note(conn, [told])

    async def deliveries(self, webhook: str, state: str | None, before: int | None, limit: int) -> Sequence[Delivery]:
        query = select(deliveries).where(deliveries.c.webhook == webhook).order_by(deliveries.c.seq.desc()).limit(limit)
        if state is not None:
            query = query.where(deliveries.c.state == state)
        if before is not None:
            query = query.where(deliveries.c.seq < before)
        async with self._db.read() as conn:
            return [Delivery(**row) for row in (await conn.execute(query)).mappings()]

    async def delivery(self, webhook: str, identifier: str) -> Delivery:
        async with self._db.read() as conn:
            return await one_delivery(conn, webhook, identifier)

    async def undelivered(self) -> Mapping[Undelivered, int]:
        states = get_args(Undelivered)
        query = select(deliveries.c.state, func.count()).where(deliveries.c.state.in_(states)).group_by(deliveries.c.state)
        async with self._db.read() as conn:
            return dict.fromkeys(states, 0) | dict((await conn.execute(query)).all())

    async def enqueue(self, webhook: str, notice: Notice, now: datetime, told: Entry) -> Delivery:
        async with self._db.write() as conn:
            await lock(conn, DELIVERIES)
            (made,) = await post(conn, [(await one_webhook(conn, webhook), notice)], now)
            await self._trail.note(conn, [told])
        return made

    async def again(self, webhook: str, identifier: str, now: datetime, told: Entry) -> Delivery:
        ours = (deliveries.c.webhook == webhook) & (deliveries.c.id == identifier) & (deliveries.c.state != "delivered")
        fresh = {"state": "pending", "attempts": 0, "not_before": now, "ended_at": None}
        async with self._db.write() as conn:
            await conn.execute(update(deliveries).where(ours).values(fresh))
            found = await one_delivery(conn, webhook, identifier)
            await self._trail.note(conn, [told])
        return found
