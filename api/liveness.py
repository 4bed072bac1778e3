"""A status is only as good as the controller that wrote it: without one, what it says is Unknown.

The store keeps what was last observed; the doors show it as Unknown for as long as nobody looks.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from controller.core.names import controller_lease
from controller.ports.store import Lease, Store
from manifests.image import ImageStatus
from manifests.kinds import Object
from manifests.machine import Machine, MachineStatus
from manifests.meta import Condition, Status
from manifests.network import NetworkStatus
from manifests.session import SessionStatus

REASON = "ControllerGone"
_BLANK: Mapping[str, Status] = {
    "Image": ImageStatus(),
    "Machine": MachineStatus(),
    "Network": NetworkStatus(),
    "Session": SessionStatus(),
}


async def shown(store: Store, objects: Sequence[Object], server: str, now: datetime) -> list[Object]:
    """The objects as people may see them: Unknown where the boot server's controller holds no lease."""
    servers = {_server(item, server) for item in objects}
    leases = {name: await store.lease(controller_lease(name)) for name in sorted(servers)}
    gone = {name for name, lease in leases.items() if lease is None or lease.expires <= now}
    if not gone:
        return list(objects)
    return [_unknown(item, name, leases) if (name := _server(item, server)) in gone else item for item in objects]


def _server(item: Object, default: str) -> str:
    return item.spec.server or default if isinstance(item, Machine) else default


def _unknown(item: Object, server: str, leases: Mapping[str, Lease | None]) -> Object:
    lease = leases[server]
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
