"""The change log as server-sent events: every change once and in order; ``Last-Event-ID`` goes on where a client stopped.

The log is asked, never a wake-up: a lost hint costs a watcher half a second, never a change.
"""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from api import liveness, selectors
from api.deps import Door, DoorOf
from api.problems import Malformed
from controller.ports.store import Gone, LogEntry, NotFound, StoreError
from manifests.kinds import PLURALS

POLL = 0.5
HEARTBEAT = 15.0
router = APIRouter(tags=["watch"])

Since = Annotated[int | None, Query(ge=0, lt=1 << 63, description="a resourceVersion; absent: from now on")]
Kinds = Annotated[str, Query(max_length=64, description="plurals, separated by commas; absent: all")]


@router.get(
    "/watch",
    summary="What changes, as it changes (server-sent events)",
    responses={200: {"content": {"text/event-stream": {}}}},
    response_class=StreamingResponse,
)
async def watch(
    door: DoorOf,
    since: Since = None,
    kinds: Kinds = "",
    label_selector: Annotated[
        str, Query(alias="labelSelector", max_length=4096, description="DELETED comes whatever it says")
    ] = "",
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    wanted = frozenset(_kind(plural) for plural in kinds.split(",") if plural)
    start = _start(last_event_id, since)
    if start is None:
        _, start = await door.store.list("Network")
    await door.store.changes(start, 1)  # what cannot be answered is said now, with a status code
    return StreamingResponse(_stream(door, start, wanted, selectors.parse(label_selector)), media_type="text/event-stream")


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


async def _stream(door: Door, since: int, kinds: frozenset[str], matches: selectors.Matches) -> AsyncIterator[str]:
    quiet = 0.0
    yield ": watching\n\n"
    while not door.stopping.is_set():
        try:
            entries = await door.store.changes(since)
        except (Gone, StoreError):
            return  # the client comes back with the id that it has, and is then told what is wrong
        for entry in entries:
            since = entry.resource_version
            if kinds and entry.key.partition("/")[0] not in kinds:
                continue
            item = await _item(door, entry)
            if entry.type == "DELETED" or matches(item["metadata"].get("labels", {})):
                yield _event(entry, item)
                quiet = 0.0
        if entries:
            continue
        if quiet >= HEARTBEAT:
            yield ": still here\n\n"
            quiet = 0.0
        await door.clock.sleep(POLL)
        quiet += POLL


async def _item(door: Door, entry: LogEntry) -> dict[str, Any]:
    """The object is the newest there is, which may be newer than the entry; a later entry then says so again."""
    kind, _, name = entry.key.partition("/")
    item: dict[str, Any] = {"apiVersion": "ggnet/v1", "kind": kind, "metadata": {"name": name}}
    if entry.type != "DELETED":
        try:
            found = await door.store.get(entry.key)
            (seen,) = await liveness.shown(door.store, [found], door.settings.server, door.clock.now())
            item = seen.wire()
        except NotFound:
            pass  # its DELETED is further down the log
    return item


def _event(entry: LogEntry, item: dict[str, Any]) -> str:
    data = json.dumps({"type": entry.type, "resourceVersion": entry.resource_version, "object": item})
    return f"id: {entry.resource_version}\nevent: {entry.type}\ndata: {data}\n\n"
