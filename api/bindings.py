"""Bindings: what a user may do with what a label selector selects. For administrators."""

import re
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query
from pydantic import AfterValidator, ConfigDict, Field

from api import selectors
from api.answers import refusals
from api.auth import names
from api.deps import Asking, DoorOf
from api.errors import Guarded, Malformed
from api.recording import entry
from api.verbs import BINDABLE
from controller.ports.audit import Entry
from controller.ports.permission import Binding, Widens
from controller.ports.store import NotFound
from manifests.meta import Strict

router = APIRouter(tags=["bindings"])
_ID = re.compile(r"[a-z0-9-]{1,36}", re.ASCII).fullmatch
_WORDS = ("read", "write", "delete", "start", "stop", "suspend", "force")
_EXAMPLE: dict[str, Any] = {"user": "ada", "verbs": ["start", "stop"], "labelSelector": "room=main", "narrows": True}
_SHOWN: dict[str, Any] = {
    "id": "8a0e6f1c-43e9-4f0e-9d3c-0a4b5c1f2d3e",
    **_EXAMPLE,
    "createdAt": "2026-01-05T12:00:00Z",
    "createdBy": "admin",
}
assert set(_WORDS) == BINDABLE


def _selector(text: str) -> str:
    """A selector that what bears no labels at all would match selects every machine that somebody forgot to label."""
    try:
        matches = selectors.parse(text)
    except Malformed as error:
        raise ValueError(str(error)) from None
    if matches({}):
        raise ValueError("selects what has no labels too: name a label that must be there, like room=main")
    return text


User = Annotated[str, Field(pattern=names.PATTERN, description="as the user logs in")]


class Wanted(Strict):
    """A binding to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    user: User
    verbs: Annotated[list[Literal[_WORDS]], Field(min_length=1, max_length=len(_WORDS))] = Field(  # type: ignore[valid-type]
        description="'read' comes with each; 'write' brings 'start' and 'stop'"
    )
    label_selector: Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_selector)] = Field(
        description="machines by their labels, sessions by those of their machine"
    )
    narrows: bool = Field(
        False, description="the user sees and does nothing but what the bindings select, whatever the role"
    )


class Shown(Strict):
    """A binding as it stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SHOWN]})

    id: str
    user: str
    verbs: list[str]
    label_selector: str
    narrows: bool
    created_at: datetime
    created_by: str

    @classmethod
    def of(cls, one: Binding) -> Self:
        return cls(
            id=one.id,
            user=one.user,
            verbs=list(one.verbs),
            label_selector=one.selector,
            narrows=one.narrows,
            created_at=one.created_at,
            created_by=one.created_by,
        )


class All(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_SHOWN]}]})

    items: list[Shown]


@router.get("/bindings", summary="List who is bound to what", responses=refusals(403))
async def list_all(
    door: DoorOf, user: Annotated[str | None, Query(max_length=64, description="only this user's")] = None
) -> All:
    return All(items=[Shown.of(one) for one in await door.bound.all() if user in (None, one.user)])


@router.post(
    "/bindings", summary="Bind a user to what a selector selects", status_code=201, responses=refusals(400, 403, 404, 409)
)
async def create(wanted: Wanted, door: DoorOf, who: Asking) -> Shown:
    verbs = tuple(word for word in _WORDS if word in wanted.verbs)
    made = Binding(str(uuid.uuid4()), wanted.user, verbs, wanted.label_selector, wanted.narrows, door.clock.now(), who.name)
    await door.bound.bind(made, entry(door, who.actor, "binding-create", made.user, after=_told(made)))
    return Shown.of(made)


@router.delete("/bindings/{binding_id}", summary="Remove a binding", responses=refusals(403, 404, 409))
async def delete(
    binding_id: str,
    door: DoorOf,
    who: Asking,
    force: Annotated[bool, Query(description="also when it is the last that narrows its user")] = False,
) -> Shown:
    """The binding that was. Whoever loses the last binding that narrows sees again all that the role shows."""

    if not _ID(binding_id):
        raise NotFound("There is no binding of this id: see GET /api/v1/bindings.")

    def told(gone: Binding) -> Entry:
        return entry(door, who.actor, "binding-delete", gone.user, before=_told(gone))

    try:
        gone = await door.bound.unbind(binding_id, told, widen=force)
    except Widens as error:
        raise Guarded(f"{error} Take the account away instead, or force the removal.") from None
    return Shown.of(gone)


def _told(one: Binding) -> dict[str, object]:
    return {"id": one.id, "verbs": list(one.verbs), "labelSelector": one.selector, "narrows": one.narrows}
