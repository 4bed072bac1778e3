"""The database and Redis: opened for a process, or seen to for an administrator."""

import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import anyio

from controller.adapters import schema
from controller.adapters.hints import open_hints
from controller.adapters.schema import SchemaDiffers
from controller.adapters.store import SqlStore
from controller.bootstrap.folders import prepare
from controller.bootstrap.here import clock
from controller.ports.audit import Actor
from controller.ports.hints import Hints
from controller.ports.logins import Revocations
from controller.ports.rates import Rates
from controller.settings import Settings

Persistence = SqlStore
"""What answers ``Store`` and ``IdentityStore``, and whose database holds the rest."""


def migrate(settings: Settings) -> None:
    """The database's schema to the newest revision. StoreError."""
    prepare(settings)
    anyio.run(_upgrade, settings)


def schema_current(settings: Settings) -> bool:
    return anyio.run(schema.check, settings.database)


def prune_audit(settings: Settings, before: datetime) -> int:
    """Removes what is older than this from the audit log; the number of rows. StoreError."""

    async def prune() -> int:
        async with open_store(settings) as (store, _):
            return await store.prune_audit(before, Actor(f"local:{_account()}"), clock().now())

    return anyio.run(prune)


@asynccontextmanager
async def open_store(settings: Settings, *, alone: bool = False) -> AsyncIterator[tuple[Persistence, Hints]]:
    """The configured store, or the embedded one, whose schema is brought up to date by itself; and the wake-ups that go
    with it. ``alone``: the embedded one is written by this process only. StoreError."""
    embedded = settings.database_url is None
    if embedded:
        prepare(settings)
    hints = await open_hints(settings.redis, clock(), alone=alone and embedded)
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
    rates = await _rates(settings.redis)
    try:
        yield rates
    finally:
        with anyio.move_on_after(1, shield=True):
            await rates.close()


async def _rates(redis: str | None) -> Rates:
    """Imported here: the controller counts nothing, and most doors have no Redis."""
    if redis is None:
        from controller.adapters.rates import Counted, Memory

        return Counted(Memory(clock()))
    from controller.adapters.rates_redis import Shared

    return await Shared.open(redis, clock())


@asynccontextmanager
async def open_revocations(settings: Settings, store: Persistence) -> AsyncIterator[Revocations]:
    """In Redis beside the database where one is configured, which has to answer now. StoreError."""
    if settings.redis is None:
        yield store
        return
    from controller.adapters import revocations

    async with revocations.shared(settings.redis, store, settings.site) as both:
        yield both


async def _upgrade(settings: Settings) -> None:
    from controller.adapters import migrate

    await migrate.upgrade(settings.database)


def _account() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
