"""Changes as they go out, encoded once for all who listen, whoever comes first."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from api.live.choice import Wanted, chosen
from api.live.liveness import Liveness
from api.live.mirror import Change

_KEPT = 1_000
_Name = tuple[int, str, str, int | None]


@dataclass(frozen=True, slots=True)
class Told:
    """``text`` is one JSON object with ``type resourceVersion object``, ``event`` a server-sent event with it (WHATWG
    HTML, 9.2)."""

    version: int
    type: str
    text: str
    event: bytes = field(init=False)

    def __post_init__(self) -> None:
        event = f"id: {self.version}\nevent: {self.type}\ndata: {self.text}\n\n".encode()
        object.__setattr__(self, "event", event)


class Telling:
    def __init__(self, liveness: Liveness) -> None:
        self._liveness = liveness
        self._encoded: dict[_Name, Told] = {}
        self._encoding = anyio.Lock()

    async def told(self, changes: Sequence[Change], wants: Wanted) -> list[Told]:
        """Those of them that are wanted."""
        mine = [each for change in changes for each in chosen(change, wants)]
        found = [self._encoded.get(_name(one)) for one in mine]
        return await self._all(mine) if None in found else found  # type: ignore[return-value]

    async def _all(self, changes: Sequence[Change]) -> list[Told]:
        async with self._encoding:
            missing = [one for one in changes if _name(one) not in self._encoded]
            known = {**self._encoded, **await self._encode(missing)}
            return [known[_name(one)] for one in changes]

    async def _encode(self, changes: Sequence[Change]) -> dict[_Name, Told]:
        """They are kept for the others for a while."""
        shown = iter(await self._liveness.shown([change.now for change in changes if change.now is not None]))
        told: dict[_Name, Told] = {}
        for change in changes:
            kind, _, name = change.key.partition("/")
            gone = {"apiVersion": "ggnet/v1", "kind": kind, "metadata": {"name": name}}
            item = gone if change.now is None else next(shown).wire()
            text = json.dumps({"type": change.type, "resourceVersion": change.version, "object": item})
            told[_name(change)] = Told(change.version, change.type, text)
        self._encoded |= told
        while len(self._encoded) > _KEPT:
            del self._encoded[next(iter(self._encoded))]
        return told


def _name(change: Change) -> _Name:
    """With the object's own version: who was away for long is told of the same change with a newer one."""
    now = change.now
    return change.version, change.type, change.key, None if now is None else now.metadata.resource_version
