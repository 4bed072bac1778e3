"""Webhooks and what is on its way to them, in the database. All writers that add or remove take the deliveries' counter
first, so that they wait for each other in one order."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from controller.adapters.database import Database, lock
from controller.adapters.notices_followed import Followed, settle
from controller.adapters.notices_queue import Queue
from controller.adapters.notices_rows import all_webhooks, no_webhook, one_delivery, one_webhook, post
from controller.adapters.tables import DELIVERIES, deliveries, webhooks
from controller.core.notices import Delivery, Notice, Webhook
from controller.ports.notices import Full

MOST = 100


class SqlNotices(Followed, Queue):
    """Answers ``Notices``."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def webhooks(self) -> Sequence[Webhook]:
        async with self._db.read() as conn:
            return await all_webhooks(conn)

    async def webhook(self, identifier: str) -> Webhook:
        async with self._db.read() as conn:
            return await one_webhook(conn, identifier)

    async def add(self, webhook: Webhook) -> None:
        async with self._db.write() as conn:
            await lock(conn, DELIVERIES)
            if (await conn.execute(select(func.count()).select_from(webhooks))).scalar_one() >= MOST:
                raise Full(f"There are {MOST} webhooks, which is as many as there may be: delete one first.")
            await conn.execute(insert(webhooks).values(asdict(webhook)))
            await settle(conn)

    async def change(self, identifier: str, values: Mapping[str, Any]) -> Webhook:
        async with self._db.write() as conn:
            await lock(conn, DELIVERIES)
            if values:
                await conn.execute(update(webhooks).where(webhooks.c.id == identifier).values(dict(values)))
            found = await one_webhook(conn, identifier)
            await settle(conn)
        return found

    async def drop(self, identifier: str) -> None:
        async with self._db.write() as conn:
            await lock(conn, DELIVERIES)
            if not (await conn.execute(delete(webhooks).where(webhooks.c.id == identifier))).rowcount:
                raise no_webhook(identifier)
            await settle(conn)

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

    async def enqueue(self, webhook: str, notice: Notice, now: datetime) -> Delivery:
        async with self._db.write() as conn:
            await lock(conn, DELIVERIES)
            (made,) = await post(conn, [(await one_webhook(conn, webhook), notice)], now)
        return made

    async def again(self, webhook: str, identifier: str, now: datetime) -> Delivery:
        ours = (deliveries.c.webhook == webhook) & (deliveries.c.id == identifier) & (deliveries.c.state != "delivered")
        fresh = {"state": "pending", "attempts": 0, "not_before": now, "ended_at": None}
        async with self._db.write() as conn:
            await conn.execute(update(deliveries).where(ours).values(fresh))
            return await one_delivery(conn, webhook, identifier)
