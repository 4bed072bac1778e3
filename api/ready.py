"""Answers with one object as bytes, kept for as long as it stays as it is: the same that the long way sends."""

from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from starlette.types import Message

from api import replies
from api.deps import Door
from api.edge.bounds import Bounds
from api.edge.headers import secured
from api.edge.inflow import Inflow
from api.edge.outflow import Outflow
from manifests.kinds import Object

_MOST = 8192
_HTTP = {"type": "http"}


class Form(NamedTuple):
    """How a client wants it: ``packed`` by gzip, ``unchanged`` if it has it already; ``encrypted``: it came over TLS."""

    packed: bool
    unchanged: bool
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """``rest`` is what follows the headers that are each request's own: the object's, an empty line, the body."""

    item: Object
    status: int
    rest: bytes


class Ready:
    def __init__(self, door: Door) -> None:
        self._door = door
        self._kept: dict[tuple[str, Form], Answer] = {}

    def kept(self, key: str, item: Object, form: Form) -> Answer | None:
        found = self._kept.get((key, form))
        return found if found is not None and found.item is item else None

    async def make(self, key: str, item: Object, form: Form) -> Answer:
        made = await self._made(item, form)
        if len(self._kept) >= _MOST:
            for old in list(islice(self._kept, _MOST // 2)):
                del self._kept[old]
        self._kept[key, form] = made
        return made

    async def _made(self, item: Object, form: Form) -> Answer:
        """What the edge makes of it."""
        sent: list[Message] = []
        asked = {b"accept-encoding": b"gzip"} if form.packed else {}
        if form.unchanged:
            asked[b"if-none-match"] = b"*"

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        inflow = Inflow(receive, {}, Bounds())
        outflow = Outflow(
            send, asked, inflow, lambda names: secured(names, encrypted=form.encrypted), head=False, versioned=True
        )
        await replies.told(self._door, item, {})(_HTTP, receive, outflow)
        start, body = sent
        lines = [b"%b: %b\r\n" % header for header in start["headers"]]
        return Answer(item, start["status"], b"".join((*lines, b"\r\n", body["body"])))
