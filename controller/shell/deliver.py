"""The deliverer: follows the logs, puts notices into the queue, sends what is due.

One process of all that share a database does it, by a lease whose epoch every write names: what is put into the queue is
put there once. What is sent may arrive twice (a receiver's answer can be lost), always under the same id. Each webhook
has a lane of its own, so that one that hangs delays nobody else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio
import structlog
from anyio.abc import TaskGroup

from controller.core import notices
from controller.core.notices import Delivery, Matches, Notice, Webhook
from controller.core.signing import headers
from controller.ports.clock import Clock
from controller.ports.notices import DELIVERER, Letter, NotDelivered, Outbox, Refused
from controller.ports.store import Event, Fenced, Lease, NotFound, Store, StoreError
from controller.shell.gathered import gathered

log = structlog.get_logger()

_LEASE_SECONDS = 30.0  # longer than a try takes: nothing of a process that lost its lease is still under way
_ASK_SECONDS = 5.0
_LINES = 500
_GATHERED_SECONDS = 0.05  # where many write, they are followed in handfuls
_DUE_SECONDS = 1.0  # nobody tells when a later try is due
_ABREAST = 4  # tries of one webhook at a time; of one that fails, one
_A_MAIL = 200
_TIDY_SECONDS = 3600.0
_ARRIVED_KEPT = timedelta(days=1)
_DEAD_KEPT = timedelta(days=30)


@dataclass(slots=True)
class Deliverer:
    """``holder`` tells this process from all others; ``parse`` reads a label selector."""

    store: Store
    outbox: Outbox
    clock: Clock
    holder: str
    parse: Callable[[str], Matches]
    site: str = ""
    poll: float = 0.5
    _heard: anyio.Event = field(default_factory=anyio.Event)
    _lease: Lease | None = None
    _busy: set[str] = field(default_factory=set)
    _news: anyio.Event = field(default_factory=anyio.Event)

    def wake(self) -> None:
        """Something was committed."""
        self._heard.set()

    async def run(self) -> None:
        """Until cancelled. A store that fails is asked again; another process that leads is waited for."""
        while True:
            try:
                await self._lead()
            except* (Fenced, StoreError) as group:
                log.warning("webhooks wait", why=notices.printable(str(_first(group))))
            await self.clock.sleep(_LEASE_SECONDS / 10)

    async def _lead(self) -> None:
        self._lease = None
        with anyio.move_on_after(_ASK_SECONDS, shield=True):  # cut in the middle, nobody would know to give it back
            self._lease = await self.store.acquire(DELIVERER, self.holder, self.clock.now(), _LEASE_SECONDS)
        if self._lease is None:
            return
        log.info("webhooks are sent from here", epoch=self._lease.epoch)
        self._busy.clear()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._renew)
                tasks.start_soon(self._follow)
                tasks.start_soon(self._tidy)
                await self._dispatch(tasks)
        finally:
            with anyio.move_on_after(_ASK_SECONDS, shield=True):
                await self.store.release(self._lease)

    async def _renew(self) -> None:
        while True:
            await self.clock.sleep(_LEASE_SECONDS / 3)
            self._lease = await self.store.renew(self._held, self.clock.now(), _LEASE_SECONDS)

    async def _tidy(self) -> None:
        while True:
            now = self.clock.now()
            await self.outbox.notices.tidy(self._held, now - _ARRIVED_KEPT, now - _DEAD_KEPT)
            await self.clock.sleep(_TIDY_SECONDS)

    @property
    def _held(self) -> Lease:
        assert self._lease is not None
        return self._lease

    # what happened

    async def _follow(self) -> None:
        while True:
            self._heard = anyio.Event()
            if not await self.follow():
                with anyio.move_on_after(self.poll):
                    await self._heard.wait()
                    await self.clock.sleep(_GATHERED_SECONDS)

    async def follow(self) -> bool:
        """Takes in what is new; whether there was something."""
        glance = await self.outbox.notices.look(_LINES)
        if glance is None:
            return False
        found = list(gathered(glance))
        if not found and glance.end == glance.start:
            return False
        webhooks = [one for one in await self.outbox.notices.webhooks() if one.enabled]
        pairs = [pair for one in webhooks for pair in self._wanted(one, found)]
        now = self.clock.now()
        await self.outbox.notices.take(self._held, glance, pairs, now)
        if glance.gap:
            await self._tell_gap(webhooks)
        self._news.set()
        return True

    def _wanted(self, webhook: Webhook, found: Sequence[Notice]) -> list[tuple[Webhook, Notice]]:
        matches = self.parse(webhook.label_selector)
        return [(webhook, notice) for notice in found if notices.wants(webhook, notice, matches)]

    async def _tell_gap(self, webhooks: Sequence[Webhook]) -> None:
        now = self.clock.now()
        message = "the change log was trimmed before it was followed to here: what happened meanwhile is told to nobody"
        told = [Event(f"Webhook/{one.id}", "Warning", "ChangesMissed", message, now, now) for one in webhooks]
        await self.store.tell(told)

    # what is due

    async def _dispatch(self, tasks: TaskGroup) -> None:
        while True:
            self._news = anyio.Event()
            for identifier, number in (await self.outbox.notices.waiting(self.clock.now())).items():
                if identifier in self._busy:
                    continue
                if number > notices.BACKLOG:
                    await self._give_up(identifier, f"more than {notices.BACKLOG} deliveries wait for it")
                    continue
                self._busy.add(identifier)
                tasks.start_soon(self._lane, identifier)
            with anyio.move_on_after(min(self.poll, _DUE_SECONDS)):
                await self._news.wait()

    async def _lane(self, identifier: str) -> None:
        try:
            while await self.round(identifier):
                pass
        finally:
            self._busy.discard(identifier)

    async def round(self, identifier: str) -> bool:
        """Sends the next few of one webhook; False when nothing more is due now."""
        try:
            webhook = await self.outbox.notices.webhook(identifier)
        except NotFound:
            return False
        if webhook.mail is not None:
            results = await self._write(webhook, webhook.mail)
        else:
            abreast = 1 if webhook.failing_since else _ABREAST
            due = await self.outbox.notices.due(identifier, self.clock.now(), abreast)
            results = await self._send_all(webhook, due)
        if not results:
            return False
        now = self.clock.now()
        await self.outbox.notices.ended(self._held, identifier, results, now)
        if reason := notices.hopeless(webhook, results, now):
            await self._give_up(identifier, reason)
        return True

    async def _give_up(self, identifier: str, reason: str) -> None:
        now = self.clock.now()
        await self.outbox.notices.switch_off(self._held, identifier, reason, now)
        message = f"{reason}: it is switched off; repair the receiver, then: ggnet webhook enable {identifier}"
        await self.store.tell([Event(f"Webhook/{identifier}", "Warning", "WebhookDisabled", message, now, now)])

    async def _send_all(self, webhook: Webhook, due: Sequence[Delivery]) -> list[Delivery]:
        results: list[Delivery] = []

        async def send(delivery: Delivery) -> None:
            results.append(await self._send(webhook, delivery))

        async with anyio.create_task_group() as tries:
            for delivery in due:
                tries.start_soon(send, delivery)
        return results

    async def _send(self, webhook: Webhook, delivery: Delivery) -> Delivery:
        now = self.clock.now()
        content = (delivery.body or "").encode()
        fields = headers(delivery.id, int(now.timestamp()), content, webhook.secrets(now))
        status, error = None, None
        try:
            status = await self.outbox.courier.send(webhook.url or "", fields, content)
        except Refused as refused:
            error = str(refused)
        except NotDelivered as failed:
            status, error = failed.status, str(failed)
        return self._tried(delivery, status, error)

    def _tried(self, delivery: Delivery, status: int | None, error: str | None) -> Delivery:
        after = notices.tried(delivery, self.clock.now(), status=status, error=error)
        if error is not None:
            log.warning(
                "webhook not delivered", webhook=delivery.webhook, delivery=delivery.id, attempt=after.attempts, why=error
            )
        return after

    # by mail

    async def _write(self, webhook: Webhook, address: str) -> list[Delivery]:
        """One message for all that has gathered, unless the hour has had enough of them."""
        now = self.clock.now()
        if not await self.outbox.notices.due(webhook.id, now, 1):
            return []
        batch = [
            one
            for one in await self.outbox.notices.gathered(webhook.id, _A_MAIL)
            if (not one.attempts or one.not_before <= now) and (webhook.enabled or one.event == notices.PING)
        ]
        sent = await self.outbox.notices.sent_since(webhook.id, now - timedelta(hours=1))
        free = notices.mail_due(sent, now)
        if free > now:
            await self.outbox.notices.postpone(self._held, webhook.id, free)
            return []
        error = None
        try:
            if self.outbox.mailer is None:
                raise NotDelivered("no mail server is configured: set GGNET_SMTP_URL")
            await self.outbox.mailer.send(self._letter(address, batch))
        except NotDelivered as failed:
            error = str(failed)
        results, ended = [self._tried(one, None, error) for one in batch], self.clock.now()
        return [replace(one, ended_at=ended) if one.ended_at else one for one in results]  # one mail, one time

    def _letter(self, address: str, batch: Sequence[Delivery]) -> Letter:
        lines = [notices.sentence(one.body or "{}") for one in batch]
        first = lines[0].partition(" ")[2].partition(" ")[2]
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        subject = notices.printable(f"[ggnet {self.site}] {first}", 120) + more
        return Letter(address, subject, "\n".join(lines) + "\n", batch[0].id, self.clock.now())


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
