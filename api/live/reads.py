"""Objects as bytes, the way they go out: encoded once for as long as they stay as they are."""

import json
from collections.abc import Mapping, Sequence

from starlette.responses import Response

from api.live.liveness import Liveness
from api.live.mirror import Change, Mirror
from controller.ports.store import Lease
from manifests.kinds import Object

STALE = {"Warning": '110 ggnet "the store does not answer: this is what was last known"'}


class Reads:
    def __init__(self, mirror: Mirror, liveness: Liveness) -> None:
        self._mirror, self._liveness = mirror, liveness
        self._encoded: dict[str, tuple[Object, bytes]] = {}
        mirror.published.append(self._forget)

    def one(self, item: Object, gone: Mapping[str, Lease | None]) -> bytes:
        """The object with its status, Unknown where its controller is ``gone``."""
        return _encode(self._liveness.seen(item, gone)) if gone else self._known(item)

    async def many(self, items: Sequence[Object]) -> list[bytes]:
        gone = await self._liveness.gone(items)
        return [self.one(item, gone) for item in items]

    def _known(self, item: Object) -> bytes:
        key = item.key
        found = self._encoded.get(key)
        if found is not None and found[0] is item:
            return found[1]
        body = _encode(item)
        if self._mirror.objects.get(key) is item:  # and not as it was when the first page of a list was read
            self._encoded[key] = item, body
        return body

    def _forget(self, changes: Sequence[Change]) -> None:
        if not changes:
            self._encoded.clear()
        for change in changes:
            self._encoded.pop(change.key, None)


def _encode(item: Object) -> bytes:
    return json.dumps(item.wire(), separators=(",", ":")).encode()


def answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers=headers, media_type="application/json")
