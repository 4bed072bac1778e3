"""Many machines at once: start or stop all that a selector chooses, or that are named, in one transaction.

All of them or none, unless ``partial=true``: then what can be done is done, and the answer says what was refused, and why.
"""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import ConfigDict, Field, ValidationError

from api import bodies
from api.answers import refusals
from api.deps import Asking, DoorOf
from api.many import Chosen, Draft, Make, Outcomes, Work, do
from api.once import Again, Attempt
from api.parameters import DryRun, Force
from api.starting import Start, invalid, started, stopped
from manifests.meta import Strict
from manifests.session import Session

router = APIRouter(prefix="/bulk", tags=["sessions"])
Partial = Annotated[bool, Query(description="do what can be done; without it nothing is done if anything is refused")]
T = TypeVar("T", bound=Strict)


class StartMany(Chosen, Start):
    """What to start on them; what is left out stays as each session has it."""

    model_config = ConfigDict(json_schema_extra={"example": {"labelSelector": "room=main", "image": "win11"}})

    machine: None = Field(None, exclude=True)


def _takes(model: type[Chosen]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True, mode="validation", ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    schema["properties"].pop("machine", None)
    schema["oneOf"] = [{"required": ["machines"]}, {"required": ["labelSelector"]}]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_GIVES: dict[int | str, dict[str, Any]] = {200: {"model": Outcomes}, **refusals(400, 409, 412, 413)}


@router.post(
    "/start",
    summary="Start many machines",
    responses=_GIVES,
    openapi_extra=_takes(StartMany),
)
async def start(
    request: Request,
    door: DoorOf,
    who: Asking,
    again: Again,
    force: Force = False,
    dry_run: DryRun = False,
    partial: Partial = False,
) -> Response:
    async def act(attempt: Attempt) -> Response:
        asked = _read(StartMany, await bodies.raw(request))
        wanted = Start.model_validate(asked.model_dump(exclude={*Chosen.model_fields}, exclude_none=True))
        return await do(door, who, Work("started", asked, starter(wanted), force, dry_run, partial), attempt)

    return await again.once(act, dry_run=dry_run)


@router.post(
    "/stop",
    summary="Stop many machines; with force even while their PCs run",
    responses=_GIVES,
    openapi_extra=_takes(Chosen),
)
async def stop(
    request: Request,
    door: DoorOf,
    who: Asking,
    again: Again,
    force: Force = False,
    dry_run: DryRun = False,
    partial: Partial = False,
) -> Response:
    async def act(attempt: Attempt) -> Response:
        asked = _read(Chosen, await bodies.raw(request))
        return await do(door, who, Work("stopped", asked, stopper(force=force), force, dry_run, partial), attempt)

    return await again.once(act, dry_run=dry_run)


def starter(wanted: Start) -> Make:
    """The session that bears the machine's name runs."""

    def make(machine: str, sessions: Sequence[Session]) -> Draft:
        before = next((one for one in sessions if one.name == machine), None)
        return Draft(machine, before, started(machine, before, wanted))

    return make


def stopper(*, force: bool) -> Make:
    """Whichever session of the machine runs is stopped."""

    def make(machine: str, sessions: Sequence[Session]) -> Draft:
        before = next((one for one in sessions if one.spec.state == "running"), None)
        if before is None and force:  # stopped already, and its PC is still running from it
            before = next((one for one in sessions if one.status and one.status.phase == "Active"), None)
        return Draft(machine, before, stopped(before, force=force) if before else None)

    return make


def _read(model: type[T], content: bytes) -> T:
    """Invalid, Malformed."""
    try:
        return model.model_validate(bodies.parse_json(content))
    except ValidationError as error:
        raise invalid(error, "") from None
