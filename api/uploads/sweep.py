"""Every few minutes: uploads that nobody goes on with are removed, and what a crash left is put right.

Every API process does it: whatever one is at, the others leave alone.
"""

from typing import TYPE_CHECKING

import structlog

from controller.ports.store import StoreError
from controller.ports.uploads import FolderUnusable, Swept

if TYPE_CHECKING:
    from api.deps import Door

SECONDS = 600.0


async def follow(door: "Door") -> None:
    """Until cancelled."""
    log = structlog.get_logger(part="uploads")
    while True:
        try:
            swept = await door.uploads.sweep()
        except (StoreError, FolderUnusable) as error:
            log.error("uploads not swept", error=str(error))
        else:
            if swept != Swept():
                log.info("uploads swept", expired=len(swept.expired), completed=len(swept.completed), stray=len(swept.stray))
        await door.clock.sleep(SECONDS)
