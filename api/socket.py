"""The change log over a WebSocket (RFC 6455), for pages: the same feed as ``/watch``, one JSON text a change.

A page cannot set headers there, and a token in a URL ends up in logs: so it may come as a subprotocol beside ours,
``Sec-WebSocket-Protocol: ggnet.v1, bearer.TOKEN``. What is refused is refused before the upgrade, as a problem document.
"""

from collections.abc import Mapping
from typing import Annotated

import anyio
from fastapi import APIRouter, Query, WebSocket
from starlette.websockets import WebSocketDisconnect

from api import watch
from api.deps import Asking, Door, DoorOf, Opened
from api.errors import Forbidden
from api.live.choice import Wanted
from api.live.feed import Ended, Slow
from api.protocol import CUT
from api.watching import Watching
from controller.ports.store import Gone, StoreError

PROTOCOL = "ggnet.v1"
# RFC 6455, 7.4.1: going away, policy violation, internal error, try again later.
_CLOSES: Mapping[type[Exception], int] = {Ended: 1008, Slow: 1013, Gone: 1001, StoreError: 1011}
router = APIRouter(tags=["watch"])


@router.websocket("/ws")
async def feed(
    socket: WebSocket,
    door: DoorOf,
    who: Asking,
    since: watch.Since = None,
    kinds: watch.Kinds = "",
    label_selector: Annotated[str, Query(alias="labelSelector", max_length=4096)] = "",
) -> None:
    _same_origin(socket, door)
    selection = watch.wanted(kinds, label_selector)
    start = await door.feed.start(since)
    wants = Watching(door, who, start, selection)
    offered = socket.scope.get("subprotocols", [])
    with door.crowd.of(who.name):
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        await _listening(socket, door, start, wants)


async def _listening(socket: WebSocket, door: Door, start: int, wants: Wanted) -> None:
    async with anyio.create_task_group() as tasks:

        async def until_gone() -> None:
            """What a client says is not listened to; that it goes is."""
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(until_gone)
        await _tell(socket, door, start, wants)
        tasks.cancel_scope.cancel()


async def _tell(socket: WebSocket, door: Door, start: int, wants: Wanted) -> None:
    try:
        cut = socket.scope.get(CUT)
        async for told in door.feed.listen(start, wants, watch.HEARTBEAT, Opened(door, socket), cut=cut):
            for one in told:
                await socket.send_text(one.text)
    except tuple(_CLOSES) as error:
        code = next(code for kind, code in _CLOSES.items() if isinstance(error, kind))
        reason = str(error) if isinstance(error, Ended | Slow | Gone) else "the store does not answer"
        await socket.close(code, reason[:120])
    except (WebSocketDisconnect, RuntimeError):
        return  # it is gone


def _same_origin(socket: WebSocket, door: Door) -> None:
    """A page of another origin may only ask where it is allowed to. Forbidden."""
    origin = socket.headers.get("origin")
    if origin is None or origin in door.settings.origins:
        return
    if origin.partition("://")[2] != socket.headers.get("host"):
        message = "Pages of another origin may not listen here: an administrator can allow it (GGNET_CORS_ORIGINS)."
        raise Forbidden(message, "Origin")
