"""The doctor's look at the port where PCs ask for their secrets: needed once a machine of this server names a credential."""

from collections.abc import Iterator

import anyio

from controller.adapters import listeners, schema
from controller.adapters.finding import Finding
from controller.adapters.store import SqlStore
from controller.core.render.ipxe import SECRETS_PORT
from controller.ports.store import StoreError
from controller.settings import Settings
from manifests.machine import Machine

_OURS = frozenset({"ggnet", "python", "python3"})
_SUBJECT = f"port {SECRETS_PORT}/tcp"


def examine(settings: Settings) -> Iterator[Finding]:
    """Reads only. Whether somebody asks is in the database: where that cannot be read, a port that is taken is told."""
    try:
        asks = anyio.run(_asks, settings)
    except StoreError:
        asks = None
    holders = listeners.holders(SECRETS_PORT, "tcp")
    strange = ", ".join(sorted(holders - _OURS))
    if asks is False:
        return
    if strange:
        told = f"{strange} has it; PCs whose machine has spec.chap cannot ask for their secrets, and are not served"
        yield Finding(_SUBJECT, "error" if asks else "warning", told, f"stop {strange}")
    elif asks:
        yield Finding(_SUBJECT, "ok", "the controller serves" if holders else "free")


async def _asks(settings: Settings) -> bool:
    """Whether a machine of this server names a credential. StoreError."""
    if not await schema.check(settings.database):
        return False
    store = SqlStore(settings.database)
    try:
        machines, _ = await store.list("Machine")
    finally:
        await store.close()
    return any(
        isinstance(one, Machine) and one.spec.chap is not None and one.spec.server in (None, settings.server)
        for one in machines
    )
