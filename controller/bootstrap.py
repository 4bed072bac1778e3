"""The composition root: who answers what.

Everything is built here, from settings, by constructor arguments. Two ways to run: all in one process on one store, or
the controller alone beside API processes that share its database.
"""

import os
import pwd
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

import anyio
import structlog

from controller.adapters import doctor as examination
from controller.adapters import extras, files, hostlock, revocations, schema
from controller.adapters.clock import SystemClock
from controller.adapters.configfs import KernelConfigFs
from controller.adapters.dhcpd import IscDhcpd
from controller.adapters.faults import Sentry
from controller.adapters.folder import FolderSource
from controller.adapters.git import GitAddress, GitSource, is_repository
from controller.adapters.hints import open_hints
from controller.adapters.hostwatch import HostWatch
from controller.adapters.lio import KernelLio
from controller.adapters.logs import Logs, form
from controller.adapters.logwriter import LogWriter
from controller.adapters.notify import Systemd
from controller.adapters.pool import PoolDir
from controller.adapters.rates import Counted, Memory, Shared
from controller.adapters.schema import SchemaDiffers
from controller.adapters.simulated.host import simulated
from controller.adapters.store import SqlStore
from controller.adapters.tftp import TftpTree
from controller.adapters.traces import Otlp
from controller.core.mail import MailServer
from controller.core.names import controller_lease
from controller.core.notices import Matches
from controller.core.secrets import Mask
from controller.ports.audit import OURSELVES, Actor
from controller.ports.backup import Contents
from controller.ports.clock import Clock
from controller.ports.database import Database
from controller.ports.hints import Hints
from controller.ports.logins import Revocations
from controller.ports.notices import Outbox
from controller.ports.rates import Rates
from controller.ports.sources import Source
from controller.ports.store import StoreError
from controller.ports.traces import Traces
from controller.settings import Settings
from controller.shell.daemon import Daemon, lead
from controller.shell.deliver import Deliverer
from controller.shell.hints import Places
from controller.shell.observe import Host
from controller.shell.reconcile import Reconciler

log = structlog.get_logger()
_PRUNE_SECONDS = 6 * 3600.0

Finding = examination.Finding
Persistence = SqlStore
"""What answers ``Store`` and ``IdentityStore``, and whose database holds the rest."""


NotInstalled, Misspelt = extras.NotInstalled, extras.Misspelt


@contextmanager
def telling(settings: Settings, version: str, *secrets: str) -> Iterator[Traces | None]:
    """The log, and whom it and the requests are reported to, until this ends. NotInstalled, Misspelt."""
    known = (*settings.secrets, *secrets)
    named = {"server": settings.server}
    sentry = Sentry(settings.sentry_dsn, Mask(known), release=f"ggnet@{version}", **named) if settings.sentry_dsn else None
    writer = LogWriter(sys.stderr)
    Logs(known, extra=[sentry] if sentry else []).open(form(settings.log), settings.log_level, writer)
    traces = Otlp(settings.otlp_endpoint, version=version, **named) if settings.otlp_endpoint else None
    try:
        yield traces
    finally:
        for one in (sentry, traces, writer):
            if one is not None:
                one.close()


def clock() -> Clock:
    return SystemClock()


def keep(path: Path, data: bytes) -> None:
    """A file of the command's, for its owner alone, replaced whole. OSError."""
    files.replace(path, data, 0o600)


def migrate(settings: Settings) -> None:
    """The database's schema to the newest revision. StoreError."""
    _prepare(settings)
    anyio.run(_upgrade, settings)


def schema_current(settings: Settings) -> bool:
    return anyio.run(schema.check, settings.database)


def prune_audit(settings: Settings, before: datetime) -> int:
    """Removes what is older than this from the audit log; the number of rows. StoreError."""

    async def prune() -> int:
        async with open_store(settings) as (store, _):
            return await store.prune_audit(before, Actor(f"local:{_account()}"), clock().now())

    return anyio.run(prune)


def doctor(settings: Settings) -> Sequence[Finding]:
    return examination.examine(settings)


def backup(
    settings: Settings, to: Path | None, version: str, *, keys: bool, keep: int | None = None
) -> tuple[Contents, str]:
    """Into a new file, or a new file in a folder of which ``keep`` stay, or with None to standard output.

    What it holds, and where it is. BackupError, StoreError.
    """
    from controller.adapters import backup, backup_files

    now, state = clock().now(), settings.state_dir if keys else None

    async def make(stream: IO[bytes], scratch: Path) -> Contents:
        return await backup.create(settings.database, state, version, now, stream, scratch)

    if to is None:
        with backup_files.scratch(settings.state_dir) as folder:
            return anyio.run(make, sys.stdout.buffer, folder), "standard output"
    path = backup_files.dated(to, now) if to.is_dir() else to
    with backup_files.new_file(path) as (stream, folder):
        contents = anyio.run(make, stream, folder)
    if keep is not None:
        backup_files.forget(path.parent, keep)
    return contents, str(path)


def backup_check(source: Path | None) -> Contents:
    """All of an archive against its own manifest; None is standard input. BackupError."""
    from controller.adapters import backup, backup_files

    with backup_files.opened(source) as stream:
        return backup.check(stream)


def restore(settings: Settings, source: Path | None, *, keys: bool, replace: bool) -> Contents:
    """The archive's database and keys in place of ours. BackupError, StoreError, AlreadyRunning."""
    from controller.adapters import backup, backup_files

    async def run(stream: IO[bytes]) -> Contents:
        state = settings.state_dir if keys else None
        return await backup.restore(settings.database, stream, state, clock().now(), replace=replace)

    with backup_files.opened(source) as stream, _alone(settings):
        return anyio.run(run, stream)


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[tuple[Persistence, Hints]]:
    """The configured store, or the embedded one, whose schema is brought up to date by itself; and the wake-ups that go
    with it. StoreError."""
    embedded = settings.database_url is None
    if embedded:
        _prepare(settings)
    hints = await open_hints(settings.redis, clock())
    try:
        store = await SqlStore.open(settings.database, hints.tell, restore_days=settings.restore_days)
    except SchemaDiffers:
        if not embedded:
            raise
        await _upgrade(settings)
        store = await SqlStore.open(settings.database, hints.tell, restore_days=settings.restore_days)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hints.run)
            yield store, hints
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await store.close()


@asynccontextmanager
async def open_rates(settings: Settings) -> AsyncIterator[Rates]:
    """Whoever counts requests: all processes together in the configured Redis, or this one alone. StoreError."""
    ours = clock()
    rates: Rates = Counted(Memory(ours)) if settings.redis is None else await Shared.open(settings.redis, ours)
    try:
        yield rates
    finally:
        with anyio.move_on_after(1, shield=True):
            await rates.close()


@asynccontextmanager
async def open_revocations(settings: Settings, store: Persistence) -> AsyncIterator[Revocations]:
    """In Redis beside the database where one is configured, which has to answer now. StoreError."""
    if settings.redis is None:
        yield store
        return
    async with revocations.shared(settings.redis, store, settings.site) as both:
        yield both


def outbox(settings: Settings, store: Persistence) -> Outbox:
    """What webhooks need; the controller alone does without its imports."""
    from controller.adapters.notices import SqlNotices
    from controller.adapters.notices_http import HttpCourier
    from controller.adapters.notices_smtp import SmtpMailer
    from controller.adapters.resolver import SystemResolver

    courier = HttpCourier(SystemResolver(), settings.webhook_networks)
    mailer = None
    if settings.smtp_url is not None:
        sender = settings.mail_from or f"ggnet@{socket.gethostname()}"
        mailer = SmtpMailer(MailServer.parse(settings.smtp_url.get_secret_value()), sender)
    return Outbox(SqlNotices(store.database), courier, mailer)


async def deliver(settings: Settings, store: Database, outbox: Outbox, parse: Callable[[str], Matches]) -> None:
    """Webhooks are sent, by one process at a time, until cancelled. ``parse`` reads label selectors."""
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    await Deliverer(store, outbox, clock(), holder, parse, settings.site).run()


async def _upgrade(settings: Settings) -> None:
    from controller.adapters import migrate

    await migrate.upgrade(settings.database)


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
    async with open_store(settings) as (store, hints), anyio.create_task_group() as tasks:
        await _control(settings, store, hints, simulate, lambda: tasks.start_soon(door, store, hints, clock()))


async def _control(settings: Settings, store: Database, hints: Hints, simulate: bool, asked: Callable[[], object]) -> None:
    with _alone(settings):
        ours = clock()
        holder = f"{socket.gethostname()}:{settings.state_dir.resolve()}"
        lease = await lead(store, ours, controller_lease(settings.server), holder, asked)
        systemd = Systemd(settings.notify_socket)
        reconciler = Reconciler(store, _host(settings, simulate), settings.names, ours, lease)
        daemon = Daemon(
            reconciler=reconciler,
            sources=_sources(settings),
            watch=HostWatch(
                ()
                if simulate
                else (settings.configfs / "target", settings.tftp_root / "ggnet", settings.dhcpd_include.parent)
            ),
            places=Places(settings.configfs, settings.tftp_root, settings.dhcpd_include.parent, settings.dhcpd_include.name),
            sweep_seconds=settings.sweep_seconds,
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


def _account() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _host(settings: Settings, simulate: bool) -> Host:
    if simulate:
        return Host(*simulated(settings.names, str(settings.pool)), pool_dir=str(settings.pool), simulated=True)
    return Host(
        lio=KernelLio(KernelConfigFs(settings.configfs), settings.names),
        pool=PoolDir(settings.pool, settings.imports),
        tftp=TftpTree(settings.tftp_root, settings.nbp_dir, settings.names),
        dhcp=IscDhcpd(
            settings.names,
            clock(),
            include=settings.dhcpd_include,
            conf=settings.dhcpd_conf,
            restart=settings.dhcpd_restart,
            pidfile=settings.dhcpd_pidfile,
            state_dir=settings.state_dir,
        ),
        pool_dir=str(settings.pool),
    )


def _sources(settings: Settings) -> list[Source]:
    if settings.manifests is None:
        return []
    folder = Path(settings.manifests)
    if folder.is_dir() and not is_repository(folder):
        return [FolderSource(folder.resolve(), settings.source_seconds)]
    return [GitSource(GitAddress.parse(settings.manifests), settings.state_dir, settings.source_seconds)]


def _prepare(settings: Settings) -> None:
    """The folders that are ours to make; 0750, because the state folder holds the administrator's token."""
    for folder in (settings.state_dir, settings.pool, settings.imports):
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    _prepare(settings)
    lock = hostlock.hold(settings.state_dir)
    try:
        yield
    finally:
        os.close(lock)
