"""Is it alive, is it ready, how is it doing."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from api import controllers, sight
from api.answers import like, refusal
from api.deps import Door, DoorOf
from api.live.reads import answer
from controller.core.names import controller_lease
from controller.core.snapshot import SWEEP
from controller.ports.store import Lease, StoreError

router = APIRouter(tags=["health"])
_MISSED_SWEEPS = 3
_CHECKS = {
    "store": {"ok": True, "message": "answers"},
    "controller": {"ok": True, "message": "epoch 3"},
    "sweep": {"ok": True, "message": "the last full sweep ended 2026-01-05T12:00:00+00:00"},
}
_LATE = {**_CHECKS, "sweep": {"ok": False, "message": "no full sweep has ended yet"}}
_UNREADY = like({"ready": False, "checks": _LATE}, 503)
_UNREADY[503]["content"] |= refusal(503)["content"]


@router.get("/healthz", summary="Alive: touches nothing", responses=like({"status": "ok"}))
async def healthz() -> Response:
    return answer(b'{"status":"ok"}')


@router.get(
    "/readyz",
    summary="Ready: the store answers, the controller is alive, it has looked at all of its host lately",
    responses=like({"ready": True, "checks": _CHECKS}) | _UNREADY,
)
async def readyz(door: DoorOf) -> JSONResponse:
    checks = await _checks(door)
    ready = all(check["ok"] for check in checks.values())
    return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)


@router.get(
    "/metrics",
    summary="For Prometheus",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": 'ggnet_objects{kind="Machine",phase="Ready"} 12.0'}}}},
)
async def metrics(door: DoorOf) -> Response:
    """Also while the store does not answer: then it says that, and what is known in this process."""
    door.metrics.watchers.set(door.feed.listeners)
    try:
        answers = await door.mirror.fresh()
        more = await controllers.told(door) if answers else ()
    except StoreError:
        answers, more = False, ()
    text = door.metrics.text(door.phases.counts, more, store_up=answers)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _checks(door: Door) -> dict[str, dict[str, Any]]:
    try:
        await door.store.ping()
    except StoreError:
        failed = {"ok": False, "message": "the store does not answer"}
        return {"store": failed, "controller": failed, "sweep": failed}
    lease = await door.store.lease(controller_lease(door.settings.server))
    answers = {"ok": True, "message": "answers"}
    return {"store": answers, "controller": _lease(door, lease), "sweep": await _sweep(door, lease)}


def _lease(door: Door, lease: Lease | None) -> dict[str, Any]:
    if lease is None:
        return {"ok": False, "message": f"no controller of {door.settings.server} has started yet"}
    if lease.expires <= door.clock.now():
        return {
            "ok": False,
            "message": f"the controller of {door.settings.server} was last seen {lease.expires.isoformat()}",
        }
    return {"ok": True, "message": f"epoch {lease.epoch}"}


async def _sweep(door: Door, lease: Lease | None) -> dict[str, Any]:
    at, epoch = sight.swept(await door.store.observations(SWEEP))
    if at is None:
        return {"ok": False, "message": "no full sweep has ended yet"}
    if lease is None or epoch != lease.epoch:  # what an earlier process saw is no news of the host
        return {"ok": False, "message": "the controller has not looked at everything since it started"}
    late = door.clock.now() - at > timedelta(seconds=_MISSED_SWEEPS * door.settings.sweep_seconds)
    return {"ok": not late, "message": f"the last full sweep ended {at.isoformat()}"}
