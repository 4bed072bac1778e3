"""Webhooks and deliveries as rows, and how a delivery gets its place in the queue."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import RowMapping, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.statements import advance, execute_many, lock
from controller.adapters.tables import DELIVERIES, deliveries, webhooks
from controller.core.notices import MAIL_GATHERS, PING, Delivery, Notice, Webhook, body
from controller.ports.store import NotFound


def read_webhook(row: RowMapping) -> Webhook:
    return Webhook(**{**row, "events": tuple(row["events"]), "kinds": tuple(row["kinds"])})


async def all_webhooks(conn: AsyncConnection) -> list[Webhook]:
    rows = await conn.execute(select(webhooks).order_by(webhooks.c.created_at, webhooks.c.id))
    return [read_webhook(row) for row in rows.mappings()]


async def one_webhook(conn: AsyncConnection, identifier: str) -> Webhook:
    row = (await conn.execute(select(webhooks).where(webhooks.c.id == identifier))).mappings().one_or_none()
    if row is None:
        raise no_webhook(identifier)
    return read_webhook(row)


def no_webhook(identifier: str) -> NotFound:
    return NotFound(f"There is no webhook {identifier}.")


async def one_delivery(conn: AsyncConnection, webhook: str, identifier: str) -> Delivery:
    query = select(deliveries).where(deliveries.c.webhook == webhook, deliveries.c.id == identifier)
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"The webhook {webhook} has no delivery {identifier}: see its deliveries.")
    return Delivery(**row)


async def post(conn: AsyncConnection, notices: Sequence[tuple[Webhook, Notice]], now: datetime) -> list[Delivery]:
    """Puts them at the end of the queue. What goes by mail waits a little for company, unless it is a test."""
    last = await lock(conn, DELIVERIES)
    made = []
    for seq, (webhook, notice) in enumerate(notices, start=last + 1):
        wait = MAIL_GATHERS if webhook.mail is not None and notice.event != PING else None
        made.append(
            Delivery(
                seq=seq,
                id=f"msg_{uuid.uuid4().hex[:32]}",
                webhook=webhook.id,
                event=notice.event,
                subject=notice.subject,
                body=body(notice, now),
                created_at=now,
                not_before=now + wait if wait else now,
            )
        )
    await execute_many(conn, insert(deliveries), [asdict(one) for one in made])
    await advance(conn, DELIVERIES, last + len(made))
    return made
