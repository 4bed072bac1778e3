"""The framework completes all its routes when it first looks for one, which takes a fifth of a second: here a few at a
time, so that nobody waits for it.

In a thread it could fail, and so must nothing else of the framework's run in one meanwhile: it sets warnings aside while
it works, for the whole process (``warnings.catch_warnings``), and CPython 3.11 counts the depth of ``ast`` for all threads.
"""

import anyio
import anyio.lowlevel
from fastapi import FastAPI


async def complete(app: FastAPI) -> None:
    """Afterwards all routes are. Soon over where they were before."""
    turn: anyio.Lock = app.state.completing
    async with turn:
        for route in app.routes:
            route.matches({"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []})
            await anyio.lowlevel.checkpoint()
