"""What we ask of the uploads: files that arrive piece by piece, and survive whatever happens in between."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from controller.ports.audit import Entry
from controller.ports.store import NotFound

Algorithm = Literal["sha1", "sha256"]
ALGORITHMS: tuple[Algorithm, ...] = ("sha1", "sha256")


class NoUpload(NotFound):
    """There is no such upload: it was discarded, it has expired, or it is another's. See GET /api/v1/uploads."""


class WrongOffset(Exception):
    """The upload does not stand where the piece begins."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"Upload-Offset: the upload stands at {offset}: go on from there.")
        self.offset = offset


class Busy(Exception):
    """Another request is writing this upload: wait for its end, then ask where it stands (HEAD)."""


class ChecksumMismatch(Exception):
    """Upload-Checksum: the piece is not what its digest says, and nothing of it was kept: send it again."""


class TooLong(Exception):
    """More bytes than Upload-Length said."""


class OverQuota(Exception):
    """The user's uploads would take more than one user may have."""


class TooManyUploads(Exception):
    """The user has as many unfinished uploads as one may have."""


class NoRoom(Exception):
    """The disk of the uploads has no room for it. What was acknowledged stays."""


class FolderUnusable(Exception):
    """The folder of the uploads cannot be used: its server's log says why."""


@dataclass(frozen=True, slots=True)
class Checksum:
    algorithm: Algorithm
    digest: bytes


@dataclass(frozen=True, slots=True)
class Upload:
    """``owner`` is a user's uid, empty for the local administrator; ``owner_name`` is empty once the account is gone.

    ``metadata`` is Upload-Metadata as it was sent. ``offset`` bytes are kept; ``expires_at`` is None once all are.
    """

    id: str
    owner: str
    owner_name: str
    metadata: str
    length: int
    offset: int
    created_at: datetime
    expires_at: datetime | None

    @property
    def key(self) -> str:
        """What it is called in the audit log."""
        return f"Upload/{self.id}"

    @property
    def complete(self) -> bool:
        return self.expires_at is None


Act = Literal["upload-create", "upload-complete", "upload-delete", "upload-expire", "upload-lose"]
Teller = Callable[[Act, Upload], Entry]
"""Makes the audit row of what is done to an upload. Pure."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of uploads begins: behind this one."""

    created_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Swept:
    """``expired`` were removed; ``completed`` had all their bytes, and nobody had been told; ``stray`` names of files that
    belonged to nobody."""

    expired: tuple[Upload, ...] = ()
    completed: tuple[Upload, ...] = ()
    stray: tuple[str, ...] = ()


class Uploads(Protocol):
    """Any method may raise StoreError or FolderUnusable. Ids are 32 lower-case hex digits; nothing else is looked for.

    What is done to an upload is told in the audit log with it; what we find ourselves to be done, as done by ourselves.
    """

    @property
    def most(self) -> int:
        """Bytes of the longest upload that is taken."""

    async def create(self, owner: str, length: int, metadata: str, told: Teller) -> Upload:
        """OverQuota, TooManyUploads, NoRoom. One without bytes is complete at once."""

    async def find(self, upload_id: str) -> Upload:
        """As it stands: its offset would be the same after a power cut. NoUpload, also once it has expired; Busy."""

    async def list(self, owner: str | None, after: Place | None, limit: int) -> tuple[Sequence[Upload], Place | None]:
        """The newest first, of all owners with None; and where the next page begins. They may have come further since."""

    async def append(
        self,
        upload_id: str,
        offset: int,
        pieces: AsyncIterator[bytes],
        size: int | None,
        told: Teller,
        checksum: Checksum | None = None,
    ) -> Upload:
        """Takes the pieces as they come; ``size`` is how many bytes they will be, where that is known.

        Whatever ends the pieces too early, what has come of them stays, unless a checksum was to tell that it is good.
        NoUpload, WrongOffset, Busy, ChecksumMismatch, TooLong, NoRoom, and what the pieces raise.
        """

    async def remove(self, upload_id: str, told: Teller) -> None:
        """With its bytes. NoUpload, Busy."""

    async def sweep(self) -> Swept:
        """Removes what has expired, and whatever of rows and files lacks the other."""
