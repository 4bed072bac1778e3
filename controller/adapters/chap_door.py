"""The door at which a PC is told its secret: HTTP, on the boot server's own address in the boot network.

TFTP gives its files to everyone, so what a PC has to know lies nowhere as a file. It asks here, and only what comes from
the address of the machine is answered: the address of the connection itself, never one that a header claims. What is told
is what the kernel asks for at this moment, so the two cannot differ. Anything else gets the same 404, and everything is
over after one short question.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import anyio
import structlog
from anyio.abc import SocketAttribute, SocketStream

from controller.adapters.chap import SecretFiles, Unusable
from controller.adapters.lio import KernelLio
from controller.core.desired import Client
from controller.core.floods import Flood
from controller.core.names import Site
from controller.core.render.ipxe import SECRETS_PORT
from controller.ports.clock import Clock
from controller.ports.host import ChapState

log = structlog.get_logger()
_ASKED = re.compile(rb"GET /chap/([a-z0-9-]{1,63})\.ipxe HTTP/1\.[01]\r\n", re.ASCII).match
_REASONS = {200: "OK", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}
_LONGEST, _SECONDS = 2048, 5.0
_RETRY_SECONDS = 2.0
_WINDOW, _MOST = 10.0, 20  # a PC asks once in three seconds; who asks more often is none
_AT_ONCE, _ADDRESSES = 64, 4096


class ChapDoor:
    """Answers ``ports.Chap``."""

    def __init__(self, secrets: SecretFiles, lio: KernelLio, site: Site, clock: Clock, port: int = SECRETS_PORT) -> None:
        self._secrets, self._lio, self._site, self._clock, self._port = secrets, lio, site, clock, port
        self._clients: Mapping[str, Client] = {}
        self._closed: dict[str, str] = {}
        self._wanted = frozenset[str]()
        self._moved = anyio.Event()
        self._inside = 0
        self._asked: Counter[str] = Counter()
        self._since = 0.0
        self._refusals: Flood[tuple[str, str]] = Flood()

    async def observe(self, credentials: Collection[str]) -> ChapState:
        states = await anyio.to_thread.run_sync(self._secrets.states, credentials) if credentials else {}
        return ChapState(states, dict(self._closed))

    def admit(self, clients: Mapping[str, Client]) -> None:
        self._clients = clients
        wanted = frozenset(one.portal.rpartition(":")[0] for one in clients.values() if one.portal)
        if wanted != self._wanted:
            self._wanted = wanted
            self._moved.set()

    async def run(self, changed: Callable[[], None]) -> None:
        open_ones: dict[str, anyio.CancelScope] = {}
        async with anyio.create_task_group() as tasks:
            while True:
                self._moved = anyio.Event()
                for address in open_ones.keys() - self._wanted:
                    open_ones.pop(address).cancel()
                    self._closed.pop(address, None)
                for address in self._wanted - open_ones.keys():
                    open_ones[address] = anyio.CancelScope()
                    tasks.start_soon(self._listen, address, open_ones[address], changed)
                await self._moved.wait()

    async def _listen(self, address: str, scope: anyio.CancelScope, changed: Callable[[], None]) -> None:
        with scope:
            while True:
                try:
                    listener = await anyio.create_tcp_listener(local_host=address, local_port=self._port)
                except OSError as error:
                    why = error.__cause__ if isinstance(error.__cause__, OSError) else error
                    self._tell(
                        address, f"PCs cannot ask for their secrets at {address}:{self._port}: {why.strerror}", changed
                    )
                    await self._clock.sleep(_RETRY_SECONDS)
                    continue
                self._tell(address, None, changed)
                async with listener:
                    await listener.serve(self._visit)

    def _tell(self, address: str, problem: str | None, changed: Callable[[], None]) -> None:
        if self._closed.get(address) == problem:
            return
        if problem is None:
            del self._closed[address]
        else:
            self._closed[address] = problem
        changed()

    # --- one question -------------------------------------------------------------------------------------------

    async def _visit(self, line: SocketStream) -> None:
        async with line:
            if self._inside >= _AT_ONCE:
                return
            self._inside += 1
            try:
                with anyio.move_on_after(_SECONDS):
                    peer = str(line.extra(SocketAttribute.remote_address)[0])  # noqa: S610 - no Django
                    status, text = await self._answer(peer, await _question(line))
                    await line.send(_response(status, text))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                return
            finally:
                self._inside -= 1

    async def _answer(self, peer: str, question: bytes) -> tuple[int, str]:
        if self._too_often(peer):
            return 429, ""
        found = _ASKED(question)
        machine = found[1].decode() if found else ""
        client = self._clients.get(machine)
        if client is None or client.boot is None or client.address is None or str(client.address) != peer:
            for key, times in self._refusals.count((peer, machine), self._clock.monotonic()):
                log.warning("secret refused", peer=key[0] if key else "", machine=key[1] if key else "", times=times)
            return 404, ""
        try:
            secret = await self._lio.asked(self._site.target(machine), client.initiator)
        except Unusable as problem:
            log.info("secret not told", machine=machine, why=str(problem))
            return 503, ""
        log.info("secret told", machine=machine, asked=secret is not None)
        return 200, secret.script() if secret else "#!ipxe\n"

    def _too_often(self, peer: str) -> bool:
        now = self._clock.monotonic()
        if now >= self._since + _WINDOW:
            self._since = now
            self._asked.clear()
        if peer not in self._asked and len(self._asked) >= _ADDRESSES:
            return True
        self._asked[peer] += 1
        return self._asked[peer] > _MOST


async def _question(line: SocketStream) -> bytes:
    """Up to the end of the head. What is longer is cut, and means nothing."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _LONGEST:
        data += await line.receive(_LONGEST - len(data))
    return data


def _response(status: int, text: str) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        "Content-Type: text/plain\r\n"
        f"Content-Length: {len(text)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return (head + text).encode("ascii")
