"""The controller: in one process with the doors, or alone beside API processes that share its database."""

import socket
from collections.abc import Callable, Coroutine
from datetime import timedelta

import anyio
import structlog

from controller.adapters.notify import Systemd
from controller.bootstrap.folders import alone
from controller.bootstrap.here import clock
from controller.bootstrap.host import host, places, sources, watch
from controller.bootstrap.stores import Persistence, open_store
from controller.core.names import controller_lease
from controller.ports.audit import OURSELVES
from controller.ports.clock import Clock
from controller.ports.database import Database
from controller.ports.hints import Hints
from controller.ports.store import StoreError
from controller.settings import Settings
from controller.shell.daemon import Daemon, lead
from controller.shell.reconcile import Reconciler

log = structlog.get_logger()
_PRUNE_SECONDS = 6 * 3600.0


async def run_controller(settings: Settings, simulate: bool) -> None:
    """This boot server's controller, until cancelled. Fenced, AlreadyRunning, StoreError."""
    async with open_store(settings) as (store, hints):
        await _control(settings, store, hints, simulate, lambda: None)


async def run_all(
    settings: Settings, simulate: bool, door: Callable[[Persistence, Hints, Clock], Coroutine[None, None, None]]
) -> None:
    """Controller and doors in one process on one store, until cancelled.

    The doors open once the lease has been asked for, so that they never take what a dead process saw for news.
    """
    async with open_store(settings, alone=True) as (store, hints), anyio.create_task_group() as tasks:
        await _control(settings, store, hints, simulate, lambda: tasks.start_soon(door, store, hints, clock()))


async def _control(settings: Settings, store: Database, hints: Hints, simulate: bool, asked: Callable[[], object]) -> None:
    with alone(settings):
        ours = clock()
        holder = f"{socket.gethostname()}:{settings.state_dir.resolve()}"
        lease = await lead(store, ours, controller_lease(settings.server), holder, asked)
        systemd = Systemd(settings.notify_socket)
        reconciler = Reconciler(store, host(settings, simulate), settings.names, ours, lease)
        daemon = Daemon(
            reconciler=reconciler,
            sources=sources(settings),
            watch=watch(settings, simulate),
            places=places(settings),
            sweep_seconds=settings.sweep_seconds,
            poll_seconds=hints.poll_seconds,
            ready=systemd.ready,
            alive=systemd.alive,
        )
        hints.heard(daemon.wake)
        log.info("controller leads", server=settings.server, epoch=lease.epoch, simulated=simulate)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_forget_old, settings, store, ours)
                await daemon.run()
                tasks.cancel_scope.cancel()
        finally:
            systemd.stopping()
            with anyio.CancelScope(shield=True):
                await store.release(reconciler.lease)


async def _forget_old(settings: Settings, store: Database, ours: Clock) -> None:
    """The audit log keeps no more than it was told to."""
    while settings.audit_days is not None:
        now = ours.now()
        try:
            gone = await store.prune_audit(now - timedelta(days=settings.audit_days), OURSELVES, now)
            log.info("audit log pruned", rows=gone, days=settings.audit_days)
        except StoreError as error:
            log.error("audit log not pruned", error=str(error))
        await ours.sleep(_PRUNE_SECONDS)
