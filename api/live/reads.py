"""Objects as bytes, the way they go out: encoded once for as long as they stay as they are."""

import json
from collections.abc import Mapping, Sequence

import anyio.lowlevel
from starlette.responses import Response

from api.live.liveness import Liveness
from api.live.mirror import Change, Mirror
from controller.ports.store import Lease
from manifests.kinds import Object

STALE = {"Warning": '110 ggnet "the store does not answer: this is what was last known"'}

_TURN = 50  # objects that are encoded before others get their turn


class Reads:
    def __init__(self, mirror: Mirror, liveness: Liveness) -> None:
        self._mirror, self._liveness = mirror, liveness
        self._encoded: dict[str, tuple[Object, bytes]] = {}
        mirror.published.append(self._forget)

    def one(self, item: Object, gone: Mapping[str, Lease | None]) -> bytes:
        """The object with its status, Unknown where its controller is ``gone``."""
        return _encode(self._liveness.seen(item, gone)) if gone else self._known(item)

    async def many(self, items: Sequence[Object]) -> list[bytes]:
        """Others get their turn while many of them are encoded."""
        gone = await self._liveness.gone(items)
        told, made = [], 0
        for item in items:
            body = None if gone else self._held(item)
            if body is None:
                made += 1
                if made % _TURN == 0:
                    await anyio.lowlevel.checkpoint()
                body = self.one(item, gone)
            told.append(body)
        return told

    def _known(self, item: Object) -> bytes:
        body = self._held(item)
        if body is None:
            body = _encode(item)
            if self._mirror.objects.get(item.key) is item:  # and not as it was when the first page of a list was read
                self._encoded[item.key] = item, body
        return body

    def _held(self, item: Object) -> bytes | None:
        found = self._encoded.get(item.key)
        return found[1] if found is not None and found[0] is item else None

    def _forget(self, changes: Sequence[Change]) -> None:
        if not changes:
            self._encoded.clear()
        for change in changes:
            self._encoded.pop(change.key, None)


def _encode(item: Object) -> bytes:
    return json.dumps(item.wire(), separators=(",", ":")).encode()


def answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers=headers, media_type="application/json")
