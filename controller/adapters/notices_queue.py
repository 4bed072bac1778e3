"""What is on its way to webhooks, for the deliverer. What came of a try is written only by who holds the lease."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import bindparam, delete, exists, func, or_, select, update

from controller.adapters.database import Database
from controller.adapters.notices_followed import settle
from controller.adapters.statements import execute_many, lock
from controller.adapters.store_leases import fence
from controller.adapters.tables import DELIVERIES, deliveries, webhooks
from controller.core.notices import PING, Delivery
from controller.ports.store import Lease

_ENDED = ("state", "attempts", "not_before", "ended_at", "status", "error", "body")
_END = update(deliveries).where(deliveries.c.seq == bindparam("row")).values({name: bindparam(name) for name in _ENDED})
_PENDING = deliveries.c.state == "pending"


class Queue:
    _db: Database

    async def waiting(self, now: datetime) -> Mapping[str, int]:
        due = select(deliveries.c.webhook).where(_PENDING, deliveries.c.not_before <= now)
        sendable = or_(webhooks.c.enabled.is_(True), deliveries.c.event == PING)
        ready = due.join(webhooks, webhooks.c.id == deliveries.c.webhook).where(sendable)
        count = (
            select(deliveries.c.webhook, func.count())
            .where(_PENDING, deliveries.c.webhook.in_(ready))
            .group_by(deliveries.c.webhook)
        )
        async with self._db.read() as conn:
            return dict((await conn.execute(count)).all())

    async def due(self, webhook: str, now: datetime, limit: int) -> Sequence[Delivery]:
        earlier = deliveries.alias()
        blocked = exists().where(
            earlier.c.webhook == webhook,
            earlier.c.state == "pending",
            earlier.c.subject == deliveries.c.subject,
            earlier.c.seq < deliveries.c.seq,
        )
        on = select(webhooks.c.enabled).where(webhooks.c.id == webhook).scalar_subquery()
        query = (
            select(deliveries)
            .where(deliveries.c.webhook == webhook, _PENDING, deliveries.c.not_before <= now, ~blocked)
            .where(or_(on.is_(True), deliveries.c.event == PING))
            .order_by(deliveries.c.seq)
            .limit(limit)
        )
        async with self._db.read() as conn:
            return [Delivery(**row) for row in (await conn.execute(query)).mappings()]

    async def gathered(self, webhook: str, limit: int) -> Sequence[Delivery]:
        query = select(deliveries).where(deliveries.c.webhook == webhook, _PENDING).order_by(deliveries.c.seq).limit(limit)
        async with self._db.read() as conn:
            return [Delivery(**row) for row in (await conn.execute(query)).mappings()]

    async def sent_since(self, webhook: str, since: datetime) -> Sequence[datetime]:
        ours = (deliveries.c.webhook == webhook) & (deliveries.c.state == "delivered") & (deliveries.c.ended_at > since)
        query = select(deliveries.c.ended_at).where(ours).distinct()
        async with self._db.read() as conn:
            return [at for at in (await conn.execute(query)).scalars() if at is not None]

    async def postpone(self, lease: Lease, webhook: str, until: datetime) -> None:
        ours = (deliveries.c.webhook == webhook) & _PENDING & (deliveries.c.not_before < until)
        async with self._db.write() as conn:
            await fence(conn, lease)
            await conn.execute(update(deliveries).where(ours).values(not_before=until))

    async def ended(self, lease: Lease, webhook: str, results: Sequence[Delivery], now: datetime) -> None:
        """A test says nothing of how the webhook does."""
        real = [one for one in results if one.event != PING]
        failed = all(one.error is not None for one in real)
        since = {"failing_since": func.coalesce(webhooks.c.failing_since, now) if failed else None}
        rows = [{"row": one.seq, **{name: getattr(one, name) for name in _ENDED}} for one in results]
        async with self._db.write() as conn:
            await fence(conn, lease)
            if real:
                await conn.execute(update(webhooks).where(webhooks.c.id == webhook).values(since))
            await execute_many(conn, _END, rows)

    async def switch_off(self, lease: Lease, webhook: str, reason: str, now: datetime) -> None:
        async with self._db.write() as conn:
            await fence(conn, lease)
            await lock(conn, DELIVERIES)
            off = {"enabled": False, "disabled_reason": reason}
            await conn.execute(update(webhooks).where(webhooks.c.id == webhook).values(off))
            dead = {"state": "dead", "ended_at": now, "error": func.coalesce(deliveries.c.error, reason)}
            await conn.execute(update(deliveries).where(deliveries.c.webhook == webhook, _PENDING).values(dead))
            await settle(conn)

    async def tidy(self, lease: Lease, arrived_before: datetime, dead_before: datetime) -> None:
        table = deliveries.c
        old = or_(
            (table.state == "delivered") & (table.ended_at < arrived_before),
            (table.state == "dead") & (table.ended_at < dead_before),
        )
        async with self._db.write() as conn:
            await fence(conn, lease)
            await conn.execute(delete(deliveries).where(old))
