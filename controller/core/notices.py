"""What is worth telling outside, to whom, and when to try again.

A notice is the difference between what was told last of an object and how it is now: between two looks an object may
have passed through phases that nobody hears of, and no difference is told twice. Pure, so that a restart decides the same.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

OBJECT, PHASE, DRIFT, WARNING, REVISION = "object-changed", "phase-changed", "drift", "warning", "revision"
EVENTS = (OBJECT, PHASE, DRIFT, WARNING, REVISION)
PING, GAP = "ping", "gap"  # nobody subscribes to these: a test, and "list everything afresh"

TRIES = 8
# Seconds after the first, second, ... failed try: a day in all, most of it for what a night's outage needs.
_DELAYS = (5.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0, 54000.0)
_JITTER = 0.2
HOPELESS = timedelta(days=3)
BACKLOG = 10_000
LARGEST = 64 << 10  # bytes of a body; a receiver that takes less than this is rare

MAIL_GATHERS = timedelta(seconds=30)
MAILS_AN_HOUR = 20

Matches = Callable[[Mapping[str, str]], bool]
State = Literal["pending", "delivered", "dead"]
Undelivered = Literal["pending", "dead"]


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who wants to be told of what, at ``url`` or by ``mail``. The secrets sign; no answer and no log holds them."""

    id: str
    url: str | None
    mail: str | None
    events: tuple[str, ...]
    kinds: tuple[str, ...]
    label_selector: str
    secret: str = field(repr=False)
    enabled: bool
    created_at: datetime
    created_by: str
    previous_secret: str | None = field(default=None, repr=False)
    previous_until: datetime | None = None
    failing_since: datetime | None = None
    disabled_reason: str | None = None

    def secrets(self, now: datetime) -> list[str]:
        """Those that sign, the newest first."""
        old = self.previous_secret if self.previous_until is not None and now < self.previous_until else None
        return [self.secret] if old is None else [self.secret, old]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice for one webhook. ``body`` is what is sent, the same bytes at every try; None once it has arrived."""

    seq: int
    id: str
    webhook: str
    event: str
    subject: str
    body: str | None
    created_at: datetime
    not_before: datetime
    state: State = "pending"
    attempts: int = 0
    ended_at: datetime | None = None
    status: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """What was told last of an object. ``version`` is the resourceVersion of its spec and metadata."""

    uid: str
    version: int
    phase: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object as it is; ``wire`` is its manifest."""

    fact: Fact
    deleting: bool
    wire: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell; ``subject`` is ``Kind/name``, or what else is kept in order among its like."""

    event: str
    subject: str
    labels: Mapping[str, str]
    data: Mapping[str, Any]


def of_object(key: str, before: Fact | None, now: Sighting | None) -> Iterator[Notice]:
    """In the order in which it happened."""
    kind, _, name = key.partition("/")
    if before is not None and (now is None or now.fact.uid != before.uid):
        gone = {"apiVersion": "ggnet/v1", "kind": kind, "metadata": {"name": name, "uid": before.uid}}
        yield Notice(OBJECT, key, before.labels, {"change": "deleted", "object": gone})
        before = None
    if now is None:
        return
    fact = now.fact
    if before is None or before.version != fact.version:
        change = "created" if before is None else "deleting" if now.deleting else "updated"
        yield Notice(OBJECT, key, fact.labels, {"change": change, "object": now.wire})
    was = before.phase if before is not None else "Pending"
    if was != fact.phase:
        yield Notice(PHASE, key, fact.labels, {"from": was, "to": fact.phase, "object": now.wire})


def wants(webhook: Webhook, notice: Notice, matches: Matches) -> bool:
    """A revision is of no kind and bears no labels: who subscribes to revisions gets them all."""
    if notice.event in (PING, GAP):
        return True
    if notice.event not in webhook.events:
        return False
    if notice.event == REVISION:
        return True
    kind = notice.subject.partition("/")[0]
    return (not webhook.kinds or kind in webhook.kinds) and matches(notice.labels)


def body(notice: Notice, at: datetime) -> str:
    """JSON in ASCII: ``type timestamp data``. An object too large to be sent is named instead."""
    text = _json(notice, notice.data, at)
    if len(text) <= LARGEST:
        return text
    wire = notice.data.get("object", {})
    metadata = {name: wire["metadata"][name] for name in ("name", "uid") if name in wire.get("metadata", {})}
    named = {"apiVersion": "ggnet/v1", "kind": wire.get("kind", ""), "metadata": metadata}
    return _json(notice, {**notice.data, "object": named, "cut": True}, at)


def _json(notice: Notice, data: Mapping[str, Any], at: datetime) -> str:
    return json.dumps({"type": notice.event, "timestamp": at.isoformat(), "data": data}, separators=(",", ":"))


def sentence(text: str) -> str:
    """One line of a mail, from a body."""
    value = json.loads(text)
    data, at = value["data"], value["timestamp"][:19].replace("T", " ")
    about = data.get("object") or {}
    key = f"{about.get('kind', '')}/{about.get('metadata', {}).get('name', '')}"
    match value["type"]:
        case "phase-changed":
            said = f"{key}: {data['from']} -> {data['to']}"
        case "object-changed":
            said = f"{key}: {data['change']}"
        case "drift" | "warning":
            event = data["event"]
            said = f"{event['object']}: {event['reason']}: {event['message']}"
        case "revision":
            said = f"revision {data['sha'][:12]} of {data['source']}: {data['verdict']}, {data['state']}"
        case other:
            said = f"{other}: {data.get('message', '')}"
    return f"{at} {printable(said)}"


def printable(text: str, longest: int = 300) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:longest]


def tried(delivery: Delivery, now: datetime, *, status: int | None, error: str | None) -> Delivery:
    """The delivery after a try: arrived when there is no error, else due again later, else dead. A test is tried once."""
    attempts = delivery.attempts + 1
    after = replace(delivery, attempts=attempts, status=status, error=error)
    if error is None:
        return replace(after, state="delivered", ended_at=now, body=None)
    if attempts >= (1 if delivery.event == PING else TRIES):
        return replace(after, state="dead", ended_at=now)
    return replace(after, not_before=now + timedelta(seconds=pause(attempts, delivery.id)))


def pause(attempts: int, identifier: str) -> float:
    """Seconds to the next try: up to a fifth more or less, as the id decides, so that not all come at one moment."""
    base = _DELAYS[min(attempts, len(_DELAYS)) - 1]
    spread = int.from_bytes(hashlib.sha256(f"{identifier} {attempts}".encode()).digest()[:4], "big") / 2**32
    return base * (1 + _JITTER * (2 * spread - 1))


def hopeless(webhook: Webhook, results: Collection[Delivery], now: datetime) -> str | None:
    """Why nothing more should be sent there; ``webhook`` as it was before these results."""
    if any(one.status == 410 and one.event != PING for one in results):
        return "the receiver answered 410 Gone"
    real = [one for one in results if one.event != PING]
    failed = real and all(one.error is not None for one in real)
    if failed and webhook.failing_since is not None and now - webhook.failing_since >= HOPELESS:
        return f"every try has failed for {HOPELESS.days} days"
    return None


def mail_due(sent: Sequence[datetime], now: datetime) -> datetime:
    """When the next mail may go; ``sent`` are the times of the last hour's mails, in any order."""
    if len(sent) < MAILS_AN_HOUR:
        return now
    return sorted(sent)[-MAILS_AN_HOUR] + timedelta(hours=1)
