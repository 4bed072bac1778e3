"""The everyday verbs: a machine starts an image, a machine stops. A machine's session bears its name."""

from typing import TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError

from api import bodies, permission, writes
from api.answers import gives, refusals
from api.committing import Committing, asked, chosen
from api.deps import Asking, Door, DoorOf, Principal
from api.foreseen import annotated
from api.once import Again, Attempt
from api.parameters import DryRun, Force
from api.replies import answer, composer, find, put
from api.starting import Start, body, invalid, started, stopped
from api.verbs import Verb
from controller.ports.store import Event, NotFound
from manifests.commits import COMMIT
from manifests.image import Image
from manifests.meta import Strict
from manifests.session import Session
from manifests.types import shown

router = APIRouter(tags=["sessions"])
_START = {"requestBody": {"content": {"application/json": {"schema": body(Start)}}}}

_COMMIT = {"requestBody": {"content": {"application/json": {"schema": Committing.model_json_schema(by_alias=True)}}}}
S = TypeVar("S", bound=Strict)

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


@router.post(
    "/sessions/{name}/commit",
    summary="Make a version of its image from a kept disk",
    responses=gives("Session") | refusals(400, 404, 409, 413),
    openapi_extra=_COMMIT,
)
async def commit(name: str, request: Request, door: DoorOf, who: Asking, dry_run: DryRun = False) -> Response:
    """Only while its PC is off, and only of a disk that stands on the newest version. The session is not served until it
    is done; its condition ``Committing`` says how far it is."""
    wanted = _parsed(Committing, await bodies.raw(request))
    item = await find(door, who, "Session", name)
    assert isinstance(item, Session)
    disk = chosen(item, wanted)
    image = await find(door, who, "Image", disk.image.image)
    assert isinstance(image, Image)
    permission.check(door, who, Verb.WRITE, image)
    permission.check(door, who, Verb.STOP, item)
    annotation = {COMMIT: str(asked(item, disk, image, wanted, who))}
    if dry_run:
        return await answer(door, annotated(item, annotation))
    await door.store.annotate(item.key, annotation, by=who.actor)
    return await answer(door, await find(door, who, "Session", name))


@router.delete(
    "/sessions/{name}/commit", summary="Call off a commit that is not done", responses=gives("Session") | refusals(404)
)
async def cancel(name: str, door: DoorOf, who: Asking, dry_run: DryRun = False) -> Response:
    """What was copied until then is removed, and the session is served again. A version that is made already stays."""
    item = await find(door, who, "Session", name)
    assert isinstance(item, Session)
    permission.check(door, who, Verb.STOP, item)
    under_way = item.metadata.commit
    if under_way is None:
        raise NotFound(f"{item.key} has no commit under way.")
    if dry_run:
        return await answer(door, annotated(item, {COMMIT: None}))
    await door.store.annotate(item.key, {COMMIT: None}, by=who.actor)
    now = door.clock.now()
    said = f"{who.actor.name} called off the commit of disk {under_way.disk}"
    await door.store.tell([Event(item.key, "Normal", "CommitCancelled", said, now, now)])
    return await answer(door, await find(door, who, "Session", name))


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
    return _parsed(Start, content)


def _parsed(model: type[S], content: bytes) -> S:
    value = bodies.parse_json(content) if content.strip() else {}
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error, "Session") from None
