"""What was deleted, for as long as it may be restored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from manifests.kinds import Object

Place = tuple[datetime, str]
"""When one was removed, and its uid."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """An object as it was when the last of it was withdrawn; its metadata has uid, generation, managedBy, deletedAt.

    ``who`` asked for the deletion (a manager, ``api:ada`` or ``git:SOURCE``); after ``until`` it is forgotten.
    """

    object: Object
    who: str
    removed_at: datetime
    until: datetime


class Tombstones(Protocol):
    """May raise StoreError. To restore is ``Store.put(revive=...)``."""

    async def tombstones(
        self, now: datetime, *, key: str | None = None, kind: str | None = None, after: Place | None = None, limit: int = 500
    ) -> Sequence[Tombstone]:
        """The last removed first, those that went at one moment by their uid; ``after`` is the place of the last one of the
        page before, which need not be there any more."""
