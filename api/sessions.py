"""The everyday verbs: a machine starts an image, a machine stops. A machine's session bears its name."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError

from api import bodies, writes
from api.answers import gives, refusals
from api.deps import Asking, Door, DoorOf, Principal
from api.once import Again, Attempt
from api.parameters import DryRun, Force
from api.replies import composer, find, put
from api.starting import Start, invalid, started, stopped
from api.verbs import Verb
from controller.ports.store import NotFound
from manifests.session import Session
from manifests.types import shown

router = APIRouter(tags=["sessions"])
_START = {
    "requestBody": {"content": {"application/json": {"schema": Start.model_json_schema(by_alias=True, mode="validation")}}}
}

_GIVES = gives("Session") | refusals(400, 404, 409, 412, 413)


@router.post("/sessions/{name}/start", summary="Start a machine", responses=_GIVES, openapi_extra=_START)
async def start(
    name: str,
    request: Request,
    door: DoorOf,
    who: Asking,
    again: Again,
    force: Force = False,
    dry_run: DryRun = False,
) -> Response:
    async def act(attempt: Attempt) -> Response:
        wanted = _wanted(await bodies.raw(request))
        before = await _maybe(door, who, name)
        if before is None:
            await find(door, who, "Machine", wanted.machine or name)
        return await _write(
            door, who, before, started(name, before, wanted), Verb.START, attempt, force=force, dry_run=dry_run
        )

    return await again.once(act, dry_run=dry_run)


@router.post("/sessions/{name}/stop", summary="Stop a machine; with force even while its PC runs", responses=_GIVES)
async def stop(
    name: str, door: DoorOf, who: Asking, again: Again, force: Force = False, dry_run: DryRun = False
) -> Response:
    """Without ``force`` a running PC keeps its disk until it is shut down."""

    async def act(attempt: Attempt) -> Response:
        before = await _maybe(door, who, name)
        if before is None:
            raise NotFound(f"There is no Session/{shown(name)[1:-1]}: the machine has nothing to stop.")
        return await _write(
            door, who, before, stopped(before, force=force), Verb.STOP, attempt, force=force, dry_run=dry_run
        )

    return await again.once(act, dry_run=dry_run)


async def _write(
    door: Door,
    who: Principal,
    before: Session | None,
    item: Session,
    verb: Verb,
    attempt: Attempt,
    *,
    force: bool,
    dry_run: bool,
) -> Response:
    version = before.metadata.resource_version if before else 0
    wish = writes.Wish([item], {item.key: version or 0}, force, dry_run, verb)
    return await put(door, who, wish, attempt, await composer(door, item, 200))


async def _maybe(door: Door, who: Asking, name: str) -> Session | None:
    try:
        found = await find(door, who, "Session", name)
    except NotFound:
        return None
    return found if isinstance(found, Session) else None


def _wanted(content: bytes) -> Start:
    value = bodies.parse_json(content) if content.strip() else {}
    try:
        return Start.model_validate(value)
    except ValidationError as error:
        raise invalid(error, "Session") from None
