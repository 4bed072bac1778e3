"""A status is only as good as the controller that wrote it: without one, what it says is Unknown.

The store keeps what was last observed; the doors show it as Unknown for as long as nobody looks.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import anyio

from api.live.mirror import Mirror
from controller.core.names import controller_lease
from controller.ports.clock import Clock
from controller.ports.store import Lease, Store, StoreError
from manifests.image import ImageStatus
from manifests.kinds import Object
from manifests.machine import Machine, MachineStatus
from manifests.meta import Condition, Status
from manifests.network import NetworkStatus
from manifests.session import SessionStatus

REASON = "ControllerGone"
_BELIEVED, _EARLY = 1.0, 0.7
_BLANK: Mapping[str, Status] = {
    "Image": ImageStatus(),
    "Machine": MachineStatus(),
    "Network": NetworkStatus(),
    "Session": SessionStatus(),
}


class Liveness:
    """Which boot servers have a controller that is alive. A lease that holds is believed for a second; one that does
    not is asked for each time. While the store does not answer, what it last said counts. Who asks when the second is
    nearly over has the lease asked for anew without waiting for that."""

    def __init__(self, mirror: Mirror, store: Store, clock: Clock, server: str) -> None:
        self._mirror, self._store, self._clock, self._server = mirror, store, clock, server
        self._leases: dict[str, tuple[float, Lease | None]] = {}
        self._old: set[str] = set()
        self._soon = anyio.Event()

    async def follow(self) -> None:
        """Asks ahead for those who ask, until cancelled."""
        while True:
            await self._soon.wait()
            self._soon = anyio.Event()
            for server in tuple(self._old):
                await self._ask(server)
                self._old.discard(server)  # not before: others ask of it meanwhile

    async def gone(self, objects: Iterable[Object]) -> Mapping[str, Lease | None]:
        """The servers of these objects whose controller is not alive, with their last lease."""
        found: dict[str, Lease | None] = {}
        for name in {_server(item, self._server) for item in objects}:
            lease = await self._lease(name)
            if not _holds(lease, self._clock.now()):
                found[name] = lease
        return found

    async def _lease(self, server: str) -> Lease | None:
        asked, lease = self._leases.get(server, (-_BELIEVED, None))
        age = self._clock.monotonic() - asked
        if self._mirror.lost or (_holds(lease, self._clock.now()) and age < _BELIEVED):
            if age >= _EARLY and not self._mirror.lost:
                self._old.add(server)
                self._soon.set()
            return lease
        return await self._ask(server)

    async def _ask(self, server: str) -> Lease | None:
        _, lease = self._leases.get(server, (0.0, None))
        with suppress(StoreError):
            lease = await self._store.lease(controller_lease(server))
        self._leases[server] = (self._clock.monotonic(), lease)
        return lease

    async def shown(self, objects: Sequence[Object]) -> list[Object]:
        """The objects as people may see them: Unknown where the boot server's controller holds no lease."""
        gone = await self.gone(objects)
        return [self.seen(item, gone) for item in objects] if gone else list(objects)

    def seen(self, item: Object, gone: Mapping[str, Lease | None]) -> Object:
        name = _server(item, self._server)
        return _unknown(item, name, gone[name]) if name in gone else item


def _holds(lease: Lease | None, now: datetime) -> bool:
    return lease is not None and lease.expires > now


def _server(item: Object, default: str) -> str:
    return item.spec.server or default if isinstance(item, Machine) else default


def _unknown(item: Object, server: str, lease: Lease | None) -> Object:
    since = lease.expires if lease else item.metadata.created_at
    status: Status = item.status or _BLANK[item.kind]
    if since is None:
        return item
    message = (
        f"no controller of boot server {server} is alive: start ggnet-controller there; last seen {since:%Y-%m-%dT%H:%M:%SZ}"
    )
    if lease is None:
        message = f"no controller of boot server {server} has been seen yet: start ggnet-controller there"
    ready = Condition(
        type="Ready",
        status="Unknown",
        reason=REASON,
        message=message,
        last_transition_time=since,
        observed_generation=status.observed_generation,
    )
    others = tuple(condition for condition in status.conditions if condition.type != "Ready")
    update = {"phase": "Unknown", "conditions": (ready, *others)}
    return item.model_copy(update={"status": status.model_copy(update=update)})
