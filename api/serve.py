"""The REST door on a socket, until it is cancelled."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import uvicorn
from fastapi import FastAPI

from api.complete import complete
from api.protocol import Protocol, Socket
from api.uploads import sweep

_SHUTDOWN_SECONDS = 3
_KEEP_ALIVE_SECONDS = 75  # longer than proxies keep theirs (nginx: 60), or they send into a connection that we close
_WS_MESSAGE = 1 << 16  # what a watcher has to say fits many times


class ListenError(Exception):
    """The address cannot be listened on; the message says what to do."""


class _Server(uvicorn.Server):
    """Leaves signals to the process that it runs in: there they stop the controller as well. Told to stop, it does at
    once, and where nothing is to be done it sleeps: uvicorn's own looks ten times a second whether it shall go on."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = anyio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # sets the date that answers bear
            with anyio.move_on_after(1):
                await self._told.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(listen: str) -> socket.socket:
    """``HOST:PORT``, ``[IPV6]:PORT``; port 0 takes a free one. ListenError."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ListenError(f"GGNET_LISTEN {listen!a} is not an address: write it like 127.0.0.1:8080")
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, int(port)))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        reason = error.strerror or error
        raise ListenError(f"cannot listen on {listen}: {reason}; is another one running? Set GGNET_LISTEN") from error
    return sock


async def serve(app: FastAPI, sock: socket.socket) -> None:
    """Until cancelled; answers under way are given a moment to end."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws=Socket,
        ws_max_size=_WS_MESSAGE,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # it would believe whoever connects from this machine; see api/peer.py
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    server = _Server(config)
    async with anyio.create_task_group() as group:

        async def run() -> None:
            with anyio.CancelScope(shield=True):
                await server.serve(sockets=[sock])
            group.cancel_scope.cancel()

        group.start_soon(run)
        group.start_soon(complete, app)
        group.start_soon(app.state.lane.follow)
        group.start_soon(app.state.door.mirror.follow)
        group.start_soon(app.state.door.feed.follow)
        group.start_soon(app.state.door.bound.follow)
        group.start_soon(app.state.door.identity.known.follow)
        group.start_soon(app.state.door.liveness.follow)
        group.start_soon(sweep.follow, app.state.door)
        try:
            await anyio.sleep_forever()
        finally:
            app.state.door.feed.close()
            server.stop()
