"""What is sent and answered about webhooks."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from controller.core.notices import Delivery, State, Webhook
from manifests.endpoints import LONGEST
from manifests.meta import Strict

_DAY = 24
_SECRET = Field(description="`whsec_` and 24 to 64 bytes in base64; left out: one is made", max_length=128)
_SELECTOR = Field(max_length=4096, pattern=r"^[ -~]*$", description="as in lists: only objects with these labels")

_ID = "0d0c8f1e-6f0b-4a55-9d6e-1c1d6d1f6a10"
_NEW: JsonDict = {"url": "https://example.org/ggnet", "events": ["phase-changed"], "labelSelector": "room=main"}
_WEBHOOK: JsonDict = {
    "id": _ID,
    **_NEW,
    "kinds": [],
    "enabled": True,
    "createdAt": "2026-01-05T12:00:00Z",
    "createdBy": "ada",
}
_SHOWN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_DELIVERY: JsonDict = {
    "id": "msg_5f0c2d1b7a9e4c3f8b6d0a1e2c3f4b5a",
    "webhook": _ID,
    "event": "phase-changed",
    "subject": "Session/pc07",
    "state": "dead",
    "attempts": 8,
    "createdAt": "2026-01-05T12:00:00Z",
    "endedAt": "2026-01-06T11:36:05Z",
    "status": 503,
    "error": "answered 503",
}

EventName = Literal["object-changed", "phase-changed", "drift", "warning", "revision"]
KindName = Literal["Network", "Machine", "Image", "Session"]
Url = Annotated[str, Field(max_length=LONGEST, description="https; http only into GGNET_WEBHOOK_ALLOW")]
Events = Annotated[tuple[EventName, ...], Field(min_length=1, max_length=5)]
Kinds = Annotated[tuple[KindName, ...], Field(max_length=4, description="none: all")]


class NewWebhook(Strict):
    """One of ``url`` and ``mail``."""

    url: Url | None = None
    mail: Annotated[str | None, Field(max_length=320, description="an address; changes within 30 s are one mail")] = None
    events: Events = ("phase-changed",)
    kinds: Kinds = ()
    label_selector: Annotated[str, _SELECTOR] = ""
    secret: Annotated[str | None, _SECRET] = None
    enabled: bool = True

    model_config = ConfigDict(json_schema_extra={"examples": [_NEW]})

    @model_validator(mode="after")
    def _one_way(self) -> "NewWebhook":
        if (self.url is None) == (self.mail is None):
            raise ValueError("give either url or mail")
        return self


class WebhookChange(Strict):
    """What is left out stays; enabling one that was switched off clears why."""

    url: Url | None = None
    mail: Annotated[str | None, Field(max_length=320)] = None
    events: Events | None = None
    kinds: Kinds | None = None
    label_selector: Annotated[str | None, _SELECTOR] = None
    enabled: bool | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}]})


class Rotation(Strict):
    secret: Annotated[str | None, _SECRET] = None
    overlap_hours: Annotated[int, Field(ge=0, le=24 * 30, description="how long the old secret signs too")] = _DAY

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlapHours": 24}]})


class WebhookView(Strict):
    """A webhook without its secret. ``failingSince`` is absent while it works."""

    id: str
    url: str | None = None
    mail: str | None = None
    events: tuple[str, ...]
    kinds: tuple[str, ...]
    label_selector: str
    enabled: bool
    created_at: datetime
    created_by: str
    previous_secret_until: datetime | None = None
    failing_since: datetime | None = None
    disabled_reason: str | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [_WEBHOOK]})

    @classmethod
    def of(cls, webhook: Webhook, **more: str) -> Self:
        names = WebhookView.model_fields.keys() - {"previous_secret_until"}
        fields = {name: getattr(webhook, name) for name in names}
        return cls.model_validate({**fields, "previous_secret_until": webhook.previous_until, **more})


class WebhookSecret(WebhookView):
    """With its new secret, this once."""

    secret: str

    model_config = ConfigDict(json_schema_extra={"examples": [{**_WEBHOOK, "secret": _SHOWN}]})


class WebhookList(Strict):
    items: tuple[WebhookView, ...]

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_WEBHOOK]}]})


class DeliveryView(Strict):
    """``state``: pending, delivered, or dead after its last try. ``status`` is the receiver's last answer."""

    id: str
    webhook: str
    event: str
    subject: str
    state: State
    attempts: int
    created_at: datetime
    next_try_at: datetime | None = None
    ended_at: datetime | None = None
    status: int | None = None
    error: str | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [_DELIVERY]})

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        fields = {name: getattr(delivery, name) for name in cls.model_fields.keys() - {"next_try_at"}}
        return cls.model_validate({**fields, "next_try_at": delivery.not_before if delivery.state == "pending" else None})


class DeliveryMetadata(Strict):
    """``continue`` is absent on the last page."""

    continue_: Annotated[int | None, Field(alias="continue")] = None


class DeliveryList(Strict):
    """The newest first."""

    items: tuple[DeliveryView, ...]
    metadata: DeliveryMetadata

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_DELIVERY], "metadata": {}}]})
