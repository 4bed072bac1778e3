"""What we ask for telling others what happens: a durable queue, a way to their web servers, a way to their mail."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from controller.core.notices import Delivery, Fact, Notice, Sighting, Undelivered, Webhook
from controller.ports.audit import Entry
from controller.ports.store import Event, Lease, Revision

DELIVERER = "webhooks"
"""The lease of the one process that follows the change log for webhooks and sends."""


class Refused(Exception):
    """Nothing may be sent there: the message says why, and what to change."""


class NotDelivered(Exception):
    """It did not arrive this time. ``status`` is the receiver's answer, if there was one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Full(Exception):
    """There are as many webhooks as one installation may have: delete one first."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Up to where each log was followed: a resourceVersion, and the number of an event."""

    changes: int
    events: int


@dataclass(frozen=True, slots=True)
class Glance:
    """What is new since a position, read at one moment; ``gap`` means that the change log was trimmed past it.

    ``before`` and ``now`` hold the objects that the log's new lines are about; ``labels`` those of the events' objects.
    """

    start: Positions
    end: Positions
    gap: bool = False
    keys: tuple[str, ...] = ()
    before: Mapping[str, Fact] = field(default_factory=dict)
    now: Mapping[str, Sighting] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    revisions: tuple[Revision, ...] = ()


class Notices(Protocol):
    """Webhooks, and what is on its way to them. Every method is one transaction, the audit row ``told`` with it; any may
    raise StoreError."""

    # webhooks
    async def webhooks(self) -> Sequence[Webhook]:
        """The oldest first."""

    async def webhook(self, identifier: str) -> Webhook:
        """NotFound."""

    async def add(self, webhook: Webhook, told: Entry) -> None:
        """The first enabled one starts the following of the logs, from this very moment. Full."""

    async def change(self, identifier: str, values: Mapping[str, Any], told: Entry) -> Webhook:
        """Sets fields of it by name. NotFound."""

    async def drop(self, identifier: str, told: Entry) -> None:
        """With all that is on its way to it. NotFound."""

    # deliveries, for people
    async def deliveries(self, webhook: str, state: str | None, before: int | None, limit: int) -> Sequence[Delivery]:
        """The newest first; ``before`` is the ``seq`` of the last one that was seen."""

    async def delivery(self, webhook: str, identifier: str) -> Delivery:
        """NotFound."""

    async def undelivered(self) -> Mapping[Undelivered, int]:
        """How many there are to all webhooks together: those on their way, and dead letters that are kept."""

    async def enqueue(self, webhook: str, notice: Notice, now: datetime, told: Entry) -> Delivery:
        """For one webhook, whatever it has subscribed to, enabled or not. NotFound."""

    async def again(self, webhook: str, identifier: str, now: datetime, told: Entry) -> Delivery:
        """A delivery that has not arrived is due now, with all its tries. NotFound; one that has arrived stays so."""

    # the deliverer
    async def look(self, limit: int) -> Glance | None:
        """What is new, at most so many lines of each log; None while there is no enabled webhook."""

    async def take(
        self,
        lease: Lease,
        glance: Glance,
        notices: Sequence[tuple[Webhook, Notice]],
        now: datetime,
    ) -> None:
        """As one transaction: on to the glance's end, and these notices are on their way. Fenced.

        Nothing happens if the position is not the glance's start any more. After a gap all is taken as it is now.
        """

    async def waiting(self, now: datetime) -> Mapping[str, int]:
        """Webhooks that something is due for -> how many deliveries are on their way to each."""

    async def due(self, webhook: str, now: datetime, limit: int) -> Sequence[Delivery]:
        """The oldest first; of each subject only the oldest that is on its way, so that its order holds."""

    async def gathered(self, webhook: str, limit: int) -> Sequence[Delivery]:
        """All that is on its way to a mail address, the oldest first."""

    async def sent_since(self, webhook: str, since: datetime) -> Sequence[datetime]:
        """When mails arrived (several deliveries share one mail, and so one time)."""

    async def postpone(self, lease: Lease, webhook: str, until: datetime) -> None:
        """All that is on its way to it is due no earlier than that. Fenced."""

    async def ended(self, lease: Lease, webhook: str, results: Sequence[Delivery], now: datetime) -> None:
        """Writes what became of tries, and since when the webhook fails. Fenced."""

    async def switch_off(self, lease: Lease, webhook: str, reason: str, now: datetime) -> None:
        """Disables it; what is on its way becomes dead letters. Fenced."""

    async def tidy(self, lease: Lease, arrived_before: datetime, dead_before: datetime) -> None:
        """Forgets what ended before. Fenced."""


class Resolver(Protocol):
    async def resolve(self, host: str, port: int) -> Collection[str]:
        """Addresses as text, at least one. NotDelivered."""


class Courier(Protocol):
    """The way to other people's web servers."""

    async def vet(self, url: str) -> None:
        """Refused when nothing may be sent there, NotDelivered when its name does not resolve."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of a 2xx answer. Refused, NotDelivered."""


@dataclass(frozen=True, slots=True)
class Letter:
    to: str
    subject: str
    text: str
    message_id: str
    at: datetime


class Mailer(Protocol):
    async def send(self, letter: Letter) -> None:
        """NotDelivered."""


@dataclass(frozen=True, slots=True)
class Outbox:
    """All that telling needs; without a mail server there is no ``mailer``."""

    notices: Notices
    courier: Courier
    mailer: Mailer | None = None
