"""Webhooks: who is told of what. For administrators: a URL may hold its receiver's secret, and a request goes out from here.

A secret is answered once, by the request that made it; no other answer, no log and no event holds it.
"""

import re
import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from api import bodies, selectors
from api.answers import refusals
from api.deps import Asking, Door, DoorOf, Principal, administrator
from api.recording import entry
from api.webhook_shapes import (
    DeliveryList,
    DeliveryMetadata,
    DeliveryView,
    NewWebhook,
    Rotation,
    WebhookChange,
    WebhookList,
    WebhookSecret,
    WebhookView,
)
from controller.core import mail, signing
from controller.core.notices import PING, Delivery, Notice, State, Webhook
from controller.ports.audit import Entry
from controller.ports.notices import NotDelivered, Refused
from controller.ports.store import NotFound
from manifests.types import shown

_ID = re.compile(r"[a-z0-9_-]{1,36}", re.ASCII).fullmatch

router = APIRouter(
    prefix="/webhooks",
    tags=["webhooks"],
    dependencies=[Depends(administrator)],
    responses=refusals(400, 403, 404, 409, 413),
)


@router.get("", summary="List webhooks", response_model_exclude_none=True)
async def list_all(door: DoorOf) -> WebhookList:
    return WebhookList(items=tuple(WebhookView.of(one) for one in await door.outbox.notices.webhooks()))


@router.post(
    "", summary="Create a webhook; the answer holds its secret, once", status_code=201, response_model_exclude_none=True
)
async def create(wanted: NewWebhook, door: DoorOf, who: Asking) -> WebhookSecret:
    await vet(door, wanted.url, wanted.mail, wanted.label_selector)
    webhook = Webhook(
        id=str(uuid.uuid4()),
        url=wanted.url,
        mail=wanted.mail,
        events=_once(wanted.events),
        kinds=_once(wanted.kinds),
        label_selector=wanted.label_selector,
        secret=_secret(wanted.secret),
        enabled=wanted.enabled,
        created_at=door.clock.now(),
        created_by=who.name,
    )
    await door.outbox.notices.add(webhook, told(door, who, "create", webhook.id, {"enabled": webhook.enabled}))
    return WebhookSecret.of(webhook, secret=webhook.secret)


@router.get("/{id}", summary="Read one webhook", response_model_exclude_none=True)
async def read(id: str, door: DoorOf) -> WebhookView:
    return WebhookView.of(await find(door, id))


@router.patch("/{id}", summary="Change parts of one webhook", response_model_exclude_none=True)
async def change(id: str, wanted: WebhookChange, door: DoorOf, who: Asking) -> WebhookView:
    webhook = await find(door, id)
    for field in ("url", "mail"):
        if getattr(wanted, field) is not None and getattr(webhook, field) is None:
            raise bodies.refused("", field, "a webhook keeps its way: create another one")
    await vet(door, wanted.url, wanted.mail, wanted.label_selector or "")
    values: dict[str, Any] = {
        name: value for name in WebhookChange.model_fields if (value := getattr(wanted, name)) is not None
    }
    for name in {"events", "kinds"} & values.keys():
        values[name] = _once(values[name])
    if wanted.enabled:
        values |= {"disabled_reason": None, "failing_since": None}
    changed = await door.outbox.notices.change(id, values, told(door, who, "change", id, {"fields": sorted(values)}))
    return WebhookView.of(changed)


@router.delete("/{id}", summary="Delete one webhook, and what is on its way to it", status_code=204)
async def delete(id: str, door: DoorOf, who: Asking) -> None:
    await door.outbox.notices.drop((await find(door, id)).id, told(door, who, "delete", id))


@router.post(
    "/{id}/rotate-secret", summary="A new secret; the old one signs too for a time", response_model_exclude_none=True
)
async def rotate(id: str, wanted: Rotation, door: DoorOf, who: Asking) -> WebhookSecret:
    webhook = await find(door, id)
    until = door.clock.now() + timedelta(hours=wanted.overlap_hours)
    values = {"secret": _secret(wanted.secret), "previous_secret": webhook.secret, "previous_until": until}
    if not wanted.overlap_hours:
        values |= {"previous_secret": None, "previous_until": None}
    changed = await door.outbox.notices.change(id, values, told(door, who, "rotate", id))
    return WebhookSecret.of(changed, secret=changed.secret)


@router.post(
    "/{id}/test", summary="Send a test, once, also to a disabled webhook", status_code=202, response_model_exclude_none=True
)
async def test(id: str, door: DoorOf, who: Asking) -> DeliveryView:
    webhook = await find(door, id)
    notice = Notice(PING, f"{PING}/{uuid.uuid4()}", {}, {"message": f"a test, sent by {who.name}"})
    sent = await door.outbox.notices.enqueue(webhook.id, notice, door.clock.now(), told(door, who, "test", id))
    return DeliveryView.of(sent)


@router.get("/{id}/deliveries", summary="What was sent, waits, or could not be sent", response_model_exclude_none=True)
async def deliveries(
    id: str,
    door: DoorOf,
    state: Annotated[State | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[int | None, Query(alias="continue", ge=1, lt=1 << 63)] = None,
) -> DeliveryList:
    await find(door, id)
    found = await door.outbox.notices.deliveries(id, state, after, limit + 1)
    more = found[limit - 1].seq if len(found) > limit else None
    return DeliveryList(items=tuple(map(DeliveryView.of, found[:limit])), metadata=DeliveryMetadata(continue_=more))


@router.get("/{id}/deliveries/{delivery}", summary="Read one delivery", response_model_exclude_none=True)
async def read_delivery(id: str, delivery: str, door: DoorOf) -> DeliveryView:
    return DeliveryView.of(await _find_delivery(door, id, delivery))


@router.post(
    "/{id}/deliveries/{delivery}/retry",
    summary="Try a delivery again now, with all its tries; the receiver sees the same id",
    status_code=202,
    response_model_exclude_none=True,
)
async def retry(id: str, delivery: str, door: DoorOf, who: Asking) -> DeliveryView:
    """One that has arrived stays as it is."""
    await _find_delivery(door, id, delivery)
    again = await door.outbox.notices.again(id, delivery, door.clock.now(), told(door, who, "retry", id))
    return DeliveryView.of(again)


async def find(door: Door, identifier: str) -> Webhook:
    """NotFound, whatever the id holds."""
    if not _ID(identifier):
        raise NotFound(f"There is no webhook {shown(identifier)[1:-1]}.")
    return await door.outbox.notices.webhook(identifier)


async def _find_delivery(door: Door, webhook: str, identifier: str) -> Delivery:
    await find(door, webhook)
    if not _ID(identifier):
        raise NotFound(f"There is no delivery {shown(identifier)[1:-1]}.")
    return await door.outbox.notices.delivery(webhook, identifier)


async def vet(door: Door, url: str | None, address: str | None, selector: str) -> None:
    """Invalid, naming the field, when nothing may or can be sent there. Malformed."""
    selectors.parse(selector)
    try:
        if url is not None:
            await door.outbox.courier.vet(url)
    except (Refused, NotDelivered) as error:
        raise bodies.refused("", "url", str(error)) from None
    if address is None:
        return
    if door.outbox.mailer is None:
        raise bodies.refused("", "mail", "no mail server is configured: set GGNET_SMTP_URL")
    try:
        mail.address(address)
    except ValueError as error:
        raise bodies.refused("", "mail", str(error)) from None


def told(door: Door, who: Principal, act: str, identifier: str, after: Mapping[str, Any] | None = None) -> Entry:
    return entry(door, who.actor, f"webhook-{act}", object_=f"Webhook/{identifier}", after=after)


def _secret(given: str | None) -> str:
    """Invalid."""
    if given is None:
        return signing.written(secrets.token_bytes(32))
    try:
        signing.key(given)
    except ValueError as error:
        raise bodies.refused("", "secret", str(error)) from None
    return given


def _once(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
