"""The change log as server-sent events: every change once and in order; ``Last-Event-ID`` goes on where a client stopped."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.answers import refusals
from api.deps import Asking, DoorOf, Opened
from api.errors import Malformed
from api.live.choice import Selection
from api.live.feed import STILL_HERE, Ended, Slow
from api.live.told import Told
from api.protocol import CUT, PUSH
from api.watching import Watching
from controller.ports.store import Gone, StoreError
from manifests.kinds import PLURALS

HEARTBEAT = 15.0
router = APIRouter(tags=["watch"])

Since = Annotated[int | None, Query(ge=0, lt=1 << 63, description="a resourceVersion; absent: from now on")]
Kinds = Annotated[str, Query(max_length=64, description="plurals, separated by commas; absent: all")]
LabelSelector = Annotated[
    str, Query(alias="labelSelector", max_length=4096, description="what enters it is ADDED, what leaves it DELETED")
]


_GONE = {"type": "DELETED", "resourceVersion": 42, "object": {"kind": "Machine", "metadata": {"name": "pc07"}}}
_STREAM = {"schema": {"type": "string"}, "example": Told(42, "DELETED", json.dumps(_GONE)).event.decode()}


@router.get(
    "/watch",
    summary="What changes, as it changes (server-sent events)",
    responses={200: {"content": {"text/event-stream": _STREAM}}, **refusals(410)},
    response_class=StreamingResponse,
)
async def watch(
    request: Request,
    door: DoorOf,
    who: Asking,
    since: Since = None,
    kinds: Kinds = "",
    label_selector: LabelSelector = "",
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    selection = wanted(kinds, label_selector)
    start = await door.feed.start(_start(last_event_id, since))  # what cannot be answered is said now, with a status code
    wants = Watching(door, who, start, selection)
    push, cut = request.scope.get(PUSH), request.scope.get(CUT)
    lines = door.feed.listen(start, wants, HEARTBEAT, Opened(door, request), push, cut)
    return _Feed(lines, door.crowd.of(who.name))


def wanted(kinds: str, label_selector: str) -> Selection:
    """Malformed."""
    return Selection(frozenset(_kind(plural) for plural in kinds.split(",") if plural), label_selector)


def _start(last_event_id: str | None, since: int | None) -> int | None:
    if last_event_id is None:
        return since
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise Malformed("Last-Event-ID takes the id of the last event that was received.")
    return int(last_event_id)


def _kind(plural: str) -> str:
    if plural not in PLURALS:
        raise Malformed(f"kinds takes {', '.join(PLURALS)}.")
    return PLURALS[plural]


class _Feed(StreamingResponse):
    """``counted`` from before its first byte: of a hundred that are asked for at once, each knows of those before it."""

    def __init__(self, lines: AsyncIterator[Sequence[Told]], counted: AbstractContextManager[None]) -> None:
        super().__init__(_stream(lines), media_type="text/event-stream")
        self._counted = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._counted:
            await super().__call__(scope, receive, send)


async def _stream(lines: AsyncIterator[Sequence[Told]]) -> AsyncIterator[bytes]:
    yield b": watching\n\n"
    try:
        async for told in lines:
            yield b"".join(one.event for one in told) or STILL_HERE
    except Slow as error:
        yield f"event: SLOW\ndata: {error}\n\n".encode()
    except (Ended, Gone, StoreError):
        return  # the client comes back with the id that it has, and is then told what is wrong
