"""``ggnet api``, with somebody beside its REST door who asks for a turn again and again, and notes how late it came.

``python -m tests.bench.watched FILE``: FILE gets a line for each turn that came more than 5 ms late: when it came
(CLOCK_MONOTONIC), and how late, in seconds.
"""

import asyncio
import socket
import sys
import time
from pathlib import Path

import anyio
from fastapi import FastAPI

from api import serve
from api.cli.main import main

_EVERY = 0.005
_TOLD = 0.005
_FILE = Path(sys.argv[1])
_serve = serve.serve


async def _look() -> None:
    with _FILE.open("a", buffering=1) as out:  # noqa: ASYNC230 a few lines in memory
        while True:
            due = time.monotonic() + _EVERY
            await asyncio.sleep(_EVERY)
            now = time.monotonic()
            if now - due > _TOLD:
                out.write(f"{now:.6f} {now - due:.6f}\n")


async def _watched(app: FastAPI, sock: socket.socket) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_look)
        await _serve(app, sock)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    serve.serve = _watched
    sys.argv[1:] = ["api"]
    main()
