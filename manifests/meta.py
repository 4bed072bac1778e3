"""What every object has: apiVersion, kind, metadata and, once observed, status (Kubernetes API conventions).

People write ``apiVersion kind metadata spec``. The server adds the rest of ``metadata`` and ``status``; whatever a
document claims of those is dropped by the loader, never believed.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from manifests.types import Name, shown

API_VERSION: Literal["ggnet/v1"] = "ggnet/v1"
SERVER_FIELDS = ("uid", "generation", "resourceVersion", "createdAt", "managedBy", "deletedAt")

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


def _label(labels: dict[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not key or len(key) > 317 or len(value) > 63 or not (key + value).isascii() or not (key + value).isprintable():
            raise ValueError(f"label {shown(key)}: printable ASCII, the value at most 63 characters")
        if any(c in key + value for c in "=,!() \"'"):
            raise ValueError(f"label {shown(key)}: none of = , ! ( ) space or quotes, which selectors use")
    return labels


_POLICIES = {
    PAUSED: ("true", "false"),
    DELETION_POLICY: ("delete", "orphan"),
    PRUNE: ("disabled", "enabled"),
    DISRUPTION: ("allowed", "refused"),
}


def _annotation(annotations: dict[str, str]) -> dict[str, str]:
    for key, value in annotations.items():
        if key.startswith("ggnet/") and key not in _POLICIES:
            raise ValueError(f"annotation {shown(key)} is not one of {', '.join(_POLICIES)}")
        if key in _POLICIES and value not in _POLICIES[key]:
            raise ValueError(f"annotation {key} is {' or '.join(_POLICIES[key])}, not {shown(value)}")
        if len(key) > 317 or len(value) > 4096:
            raise ValueError(f"annotation {shown(key)} is longer than 4096 characters")
    return annotations


class Metadata(Strict):
    name: Name
    labels: Annotated[dict[str, str], AfterValidator(_label)] = Field(default_factory=dict)
    annotations: Annotated[dict[str, str], AfterValidator(_annotation)] = Field(default_factory=dict)
    uid: str | None = None
    generation: int | None = None
    resource_version: int | None = None
    created_at: datetime | None = None
    managed_by: str | None = None
    deleted_at: datetime | None = None

    @property
    def paused(self) -> bool:
        return self.annotations.get(PAUSED) == "true"

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
