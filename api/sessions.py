"""The everyday verbs: a machine starts an image, a machine stops. A machine's session bears its name."""

from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field, ValidationError

from api import bodies, writes
from api.deps import Asking, Door, DoorOf
from api.objects import Force, answer, find
from api.problems import place
from controller.ports.store import NotFound
from manifests.load import Invalid, Problem
from manifests.meta import DISRUPTION, Metadata, Strict
from manifests.session import ImageRef, Session, SessionSpec
from manifests.types import Duration, Name, Size, shown

router = APIRouter(tags=["sessions"])


class Start(Strict):
    """What to start; what is left out stays as the session has it."""

    image: ImageRef | None = Field(None, description="an Image, or one version of it; needed for the first start")
    machine: str | None = Field(None, description="default: the session's name")
    persistence: Literal["ephemeral", "keep", "readonly"] | None = None
    overlay_limit: Size | None = None
    ttl: Duration | None = None


_START = {
    "requestBody": {"content": {"application/json": {"schema": Start.model_json_schema(by_alias=True, mode="validation")}}}
}


@router.post("/sessions/{name}/start", summary="Start a machine", responses={200: {"model": Session}}, openapi_extra=_START)
async def start(name: str, request: Request, door: DoorOf, who: Asking, force: Force = False) -> Response:
    wanted = _wanted(await bodies.raw(request))
    before = await _maybe(door, name)
    if before is None:
        await find(door, "Machine", wanted.machine or name)
    given = wanted.model_dump(exclude_none=True)
    kept = before.spec.model_dump() if before else {"machine": name}
    spec = _spec({**kept, **given, "state": "running"}, f"Session/{name}")
    metadata = _peaceful(before.metadata) if before else Metadata(name=Name.parse(name))
    return await _write(door, who, Session(metadata=metadata, spec=spec), before, force)


@router.post(
    "/sessions/{name}/stop", summary="Stop a machine; with force even while its PC runs", responses={200: {"model": Session}}
)
async def stop(name: str, door: DoorOf, who: Asking, force: Force = False) -> Response:
    """Without ``force`` a running PC keeps its disk until it is shut down."""
    before = await _maybe(door, name)
    if before is None:
        raise NotFound(f"There is no Session/{shown(name)[1:-1]}: the machine has nothing to stop.")
    metadata = _peaceful(before.metadata)
    if force:
        metadata = metadata.model_copy(update={"annotations": {**metadata.annotations, DISRUPTION: "allowed"}})
    spec = before.spec.model_copy(update={"state": "stopped"})
    return await _write(door, who, Session(metadata=metadata, spec=spec), before, force)


async def _write(door: Door, who: Asking, item: Session, before: Session | None, force: bool) -> Response:
    version = before.metadata.resource_version if before else 0
    await writes.put(door, who, writes.Wish([item], {item.key: version or 0}, force))
    return await answer(door, await find(door, item.kind, item.name))


async def _maybe(door: Door, name: str) -> Session | None:
    try:
        found = await find(door, "Session", name)
    except NotFound:
        return None
    return found if isinstance(found, Session) else None


def _peaceful(metadata: Metadata) -> Metadata:
    """Without the leave to cut a running PC, which was given for once."""
    left = {key: value for key, value in metadata.annotations.items() if key != DISRUPTION}
    return metadata.model_copy(update={"annotations": left})


def _wanted(content: bytes) -> Start:
    value = bodies.parse_json(content) if content.strip() else {}
    try:
        return Start.model_validate(value)
    except ValidationError as error:
        raise _invalid(error, "Session") from None


def _spec(values: dict[str, object], key: str) -> SessionSpec:
    try:
        return SessionSpec.model_validate(values)
    except ValidationError as error:
        raise _invalid(error, key) from None


def _invalid(error: ValidationError, key: str) -> Invalid:
    return Invalid(Problem("", 0, key, place(one["loc"]), one["msg"]) for one in error.errors())
