"""How the server is doing, part by part, for administrators: what ``/readyz`` does not tell strangers."""

import os
import platform
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from api import sight
from api.deps import Asking, Door, DoorOf, Role
from api.errors import Forbidden
from api.version import version
from controller.core.names import controller_lease
from controller.core.snapshot import SWEEP
from controller.ports.store import StoreError

router = APIRouter(tags=["health"])
T = TypeVar("T")
Seconds = Annotated[float, Field(ge=0, description="seconds")]


class Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class StoreHealth(Part):
    """``newest`` is the last resourceVersion that was given out, ``behind`` how many of those this process lacks yet."""

    ok: bool
    kind: str
    seconds: Seconds
    newest: int | None = None
    behind: int | None = None


class RedisHealth(Part):
    """``ok`` None: none is configured."""

    ok: bool | None
    seconds: Seconds


class ControllerHealth(Part):
    """``sweep_age`` since the last look at everything ended."""

    server: str
    alive: bool
    holder: str | None = None
    epoch: int | None = None
    expires: datetime | None = None
    sweep_age: Seconds | None = None


class DiskHealth(Part):
    """In bytes; of a folder that this process does not see there is nothing to tell."""

    path: str
    free: int | None = None
    total: int | None = None


class Health(Part):
    """``ok`` as in ``/readyz``: the store answers, and a controller is alive."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "ok": True,
                "version": "0.1.0",
                "python": "3.11.2",
                "store": {"ok": True, "kind": "sqlite", "seconds": 0.0004, "newest": 120, "behind": 0},
                "redis": {"ok": True, "seconds": 0.0003},
                "controller": {
                    "server": "default",
                    "alive": True,
                    "holder": "boot1:/var/lib/ggnet",
                    "epoch": 3,
                    "expires": "2026-01-05T12:00:30Z",
                    "sweepAge": 12.5,
                },
                "disks": [{"path": "/var/lib/ggnet", "free": 1000000, "total": 2000000}],
            }
        }
    )
    ok: bool
    version: str
    python: str
    store: StoreHealth
    redis: RedisHealth
    controller: ControllerHealth
    disks: list[DiskHealth]


@router.get(
    "/health", summary="How each part is doing, for administrators", response_model=Health, response_model_by_alias=True
)
async def health(door: DoorOf, who: Asking) -> Health:
    if who.role is not Role.ADMIN:
        raise Forbidden("Only an administrator may see how the parts of the server are doing; /readyz is for everybody.")
    store = await _store(door)
    controller = await _controller(door) if store.ok else ControllerHealth(server=door.settings.server, alive=False)
    redis, seconds = await _timed(door, door.rates.shared) if door.rates is not None else (None, 0.0)
    folders = dict.fromkeys((door.settings.state_dir, door.settings.pool))
    return Health(
        ok=store.ok and controller.alive,
        version=version(),
        python=platform.python_version(),
        store=store,
        redis=RedisHealth(ok=redis, seconds=seconds),
        controller=controller,
        disks=[await to_thread.run_sync(_disk, folder) for folder in folders],
    )


async def _store(door: Door) -> StoreHealth:
    kind = door.settings.database.partition(":")[0].partition("+")[0]
    began = door.clock.monotonic()
    try:
        await door.store.ping()
        seconds = door.clock.monotonic() - began
        newest = await door.store.pulse()
        return StoreHealth(ok=True, kind=kind, seconds=seconds, newest=newest, behind=max(0, newest - door.mirror.known))
    except StoreError:
        return StoreHealth(ok=False, kind=kind, seconds=door.clock.monotonic() - began)


async def _controller(door: Door) -> ControllerHealth:
    server, now = door.settings.server, door.clock.now()
    lease = await door.store.lease(controller_lease(server))
    swept, _ = sight.swept(await door.store.observations(SWEEP))
    age = max(0.0, (now - swept).total_seconds()) if swept is not None else None
    if lease is None:
        return ControllerHealth(server=server, alive=False, sweep_age=age)
    alive = lease.expires > now
    return ControllerHealth(
        server=server, alive=alive, holder=lease.holder, epoch=lease.epoch, expires=lease.expires, sweep_age=age
    )


async def _timed(door: Door, ask: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    began = door.clock.monotonic()
    return await ask(), door.clock.monotonic() - began


def _disk(folder: Path) -> DiskHealth:
    try:
        found: Any = os.statvfs(folder)
    except OSError:
        return DiskHealth(path=str(folder))
    return DiskHealth(path=str(folder), free=found.f_bavail * found.f_frsize, total=found.f_blocks * found.f_frsize)
