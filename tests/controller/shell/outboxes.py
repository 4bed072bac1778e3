"""A deliverer on a real database, with a clock that can be put forward and a resolver that says what a test wants."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import anyio

from api import selectors
from controller.adapters.clock import SystemClock
from controller.adapters.notices import SqlNotices
from controller.adapters.notices_http import HttpCourier
from controller.adapters.store import SqlStore
from controller.core.addresses import networks
from controller.core.notices import EVENTS, Webhook
from controller.ports.notices import DELIVERER, Mailer, Outbox
from controller.ports.store import Lease
from controller.shell.deliver import Deliverer
from manifests.machine import Machine
from tests.contracts.stores import API, TOLD, machine

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Ahead(SystemClock):
    """The system's clock, put forward."""

    def __init__(self) -> None:
        self.by = timedelta()

    def now(self) -> datetime:
        return super().now() + self.by


@dataclass
class Names:
    """A resolver that answers one list after the other, the last one for ever."""

    answers: list[Collection[str]] = field(default_factory=lambda: [["127.0.0.1"]])
    asked: int = 0

    async def resolve(self, host: str, port: int) -> Collection[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@dataclass
class Rig:
    store: SqlStore
    outbox: Outbox
    clock: Ahead
    names: Names

    @property
    def notices(self) -> SqlNotices:
        assert isinstance(self.outbox.notices, SqlNotices)
        return self.outbox.notices

    async def webhook(self, url: str | None, identifier: str = "one", **more: object) -> Webhook:
        said = {"mail": None, "events": EVENTS, "kinds": (), "label_selector": "", "secret": SECRET, "enabled": True, **more}
        made = Webhook(id=identifier, url=url, created_at=self.clock.now(), created_by="ada", **said)  # type: ignore[arg-type]
        await self.notices.add(made, TOLD)
        return made

    async def put(self, *names: str, **labels: str) -> None:
        made = [machine(name, int(name[2:]), labels=labels) for name in names]
        await self.store.put([one.model_copy(update={"spec": _elsewhere(one)}) for one in made], API, self.clock.now())

    def deliverer(self, holder: str = "test") -> Deliverer:
        return Deliverer(self.store, self.outbox, self.clock, holder, selectors.parse, "here", poll=0.02)

    async def leading(self) -> Deliverer:
        """One that has the lease and does nothing by itself."""
        deliverer = self.deliverer()
        deliverer._lease = await self.lease()
        return deliverer

    async def lease(self) -> Lease:
        found = await self.store.acquire(DELIVERER, "test", self.clock.now(), 30)
        assert found is not None
        return found

    async def states(self, webhook: str = "one") -> list[str]:
        """Of the deliveries, the oldest first."""
        return [one.state for one in reversed(await self.notices.deliveries(webhook, None, None, 1000))]


def _elsewhere(one: Machine) -> object:
    return one.spec.model_copy(update={"address": None})


@asynccontextmanager
async def rig(
    url: str, *, allowed: str = "127.0.0.0/8", mailer: Mailer | None = None, kept: int = 100_000, seconds: float = 20
) -> AsyncIterator[Rig]:
    store, names = SqlStore(url, changes_kept=kept), Names()
    courier = HttpCourier(names, networks(allowed), connect_seconds=20, seconds=seconds)
    try:
        yield Rig(store, Outbox(SqlNotices(store.database, store.trail), courier, mailer), Ahead(), names)
    finally:
        await store.close()


async def drain(deliverer: Deliverer, *webhooks: str) -> None:
    """Follows and sends until there is nothing left to do now."""
    while await deliverer.follow():
        pass
    for identifier in webhooks or ("one",):
        while await deliverer.round(identifier):
            pass


@asynccontextmanager
async def running(*deliverers: Deliverer) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        for deliverer in deliverers:
            tasks.start_soon(deliverer.run)
        yield
        tasks.cancel_scope.cancel()


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    with anyio.fail_after(seconds):
        while not true():  # noqa: ASYNC110 a receiver on a socket has no event of ours to wait for
            await anyio.sleep(0.02)
