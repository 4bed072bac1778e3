"""What every object has: apiVersion, kind, metadata and, once observed, status (Kubernetes API conventions).

People write ``apiVersion kind metadata spec``. The server adds the rest of ``metadata`` and ``status``; whatever a
document claims of those is dropped by the loader, never believed.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from manifests.commits import COMMIT, CommitRequest
from manifests.types import Name, shown

API_VERSION: Literal["ggnet/v1"] = "ggnet/v1"
SERVER_FIELDS = ("uid", "generation", "resourceVersion", "createdAt", "managedBy", "overriddenBy", "deletedAt")

PAUSED = "ggnet/paused"
DELETION_POLICY = "ggnet/deletion-policy"
PRUNE = "ggnet/prune"
DISRUPTION = "ggnet/disruption"


class Strict(BaseModel):
    """Frozen, camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        alias_generator=lambda name: name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:]),
    )

    def wire(self) -> dict[str, Any]:
        """The object as it stands on the wire: plain values, no absent members."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


_KEY = 317  # a DNS name, a slash and a label, as elsewhere


def _label_key(key: str) -> str:
    if not 0 < len(key) <= _KEY or not _LABEL(key):
        raise ValueError(f"label {shown(key)}: printable ASCII without = , ! ( ) space or quotes, which selectors use")
    return key


def _label_value(value: str) -> str:
    if len(value) > 63 or not (value == "" or _LABEL(value)):
        raise ValueError(f"{shown(value)}: at most 63 of printable ASCII without = , ! ( ) space or quotes")
    return value


def _annotation_key(key: str) -> str:
    if not 0 < len(key) <= _KEY or not key.isprintable():
        raise ValueError(f"annotation {shown(key)}: 1 to {_KEY} printable characters")
    if key.startswith("ggnet/") and key not in POLICIES and key != COMMIT:
        raise ValueError(f"annotation {shown(key)} is not one of {', '.join(POLICIES)}")
    return key


def _annotation_value(value: str) -> str:
    if len(value) > 4096:
        raise ValueError(f"{shown(value)} is longer than 4096 characters")
    if strange := next((c for c in value if not c.isprintable() and c not in "\n\t"), None):
        raise ValueError(f"{shown(value)} holds the character U+{ord(strange):04X}, which cannot be shown")
    return value


def _policies(annotations: dict[str, str]) -> dict[str, str]:
    if COMMIT in annotations:
        CommitRequest.parse(annotations[COMMIT])
    for key, value in annotations.items():
        if key in POLICIES and value not in POLICIES[key]:
            raise ValueError(f"{key} is {' or '.join(POLICIES[key])}, not {shown(value)}")
    return annotations


LABEL = r"[#$%&*+\-./0-9:;<>?@A-Z\[\\\]^_`a-z{|}~]"
_LABEL = re.compile(f"{LABEL}+", re.ASCII).fullmatch
POLICIES = {
    PAUSED: ("true", "false"),
    DELETION_POLICY: ("delete", "orphan"),
    PRUNE: ("disabled", "enabled"),
    DISRUPTION: ("allowed", "refused"),
}
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
AnnotationKey = Annotated[str, AfterValidator(_annotation_key)]
AnnotationValue = Annotated[str, AfterValidator(_annotation_value)]


class Metadata(Strict):
    name: Name
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    annotations: Annotated[dict[AnnotationKey, AnnotationValue], AfterValidator(_policies)] = Field(default_factory=dict)
    uid: str | None = None
    generation: int | None = None
    resource_version: int | None = None
    created_at: datetime | None = None
    managed_by: str | None = None
    overridden_by: str | None = None
    deleted_at: datetime | None = None

    @property
    def paused(self) -> bool:
        return self.annotations.get(PAUSED) == "true"

    @property
    def commit(self) -> CommitRequest | None:
        """What was asked for and is not done yet."""
        text = self.annotations.get(COMMIT)
        return CommitRequest.parse(text) if text is not None else None

    @property
    def orphan(self) -> bool:
        return self.annotations.get(DELETION_POLICY) == "orphan"

    @property
    def disruption_allowed(self) -> bool:
        return self.annotations.get(DISRUPTION) == "allowed"


class Condition(Strict):
    """One observed fact (Kubernetes API conventions): ``type`` is an adjective, ``reason`` one CamelCase word."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: datetime
    observed_generation: int


class Status(Strict):
    """What was observed, never what was asked for."""

    model_config = ConfigDict(extra="ignore")

    observed_generation: int = 0
    phase: str = "Pending"
    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == kind), None)


class Manifest(Strict):
    """The part that all kinds share; the kinds narrow ``kind``, ``spec`` and ``status``."""

    api_version: Literal["ggnet/v1"] = API_VERSION
    kind: str
    metadata: Metadata

    @property
    def name(self) -> Name:
        return self.metadata.name

    @property
    def key(self) -> str:
        """``Machine/pc07``: how events, dirty keys and messages name an object."""
        return f"{self.kind}/{self.metadata.name}"
