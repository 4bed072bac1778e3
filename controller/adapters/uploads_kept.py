"""What belongs together of an upload: its row, its file, and the disk that it lies on.

How far an upload has come is told by its file, so that no crash can make the two differ: a byte that was acknowledged had
been on the disk. The row has the last word only while a piece with a checksum comes in: what is behind ``acknowledged``
has not been checked, and is cut off before anything else is written.
"""

import errno
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import anyio
import structlog
from anyio import CapacityLimiter, to_thread

from controller.adapters.store_uploads import UploadRow, UploadRows
from controller.adapters.uploads_folder import ID, Folder, Found, Part
from controller.ports.audit import OURSELVES, Entry
from controller.ports.clock import Clock
from controller.ports.uploads import Act, Busy, FolderUnusable, NoRoom, NoUpload, Teller, Upload

T = TypeVar("T")

_FULL = (errno.ENOSPC, errno.EDQUOT)
_THREADS = 8  # a disk gains nothing from more


class KeptUploads:
    """In the folder ``root``; ``reserve`` is the part of its disk that stays free, ``life`` how long an unfinished upload
    is kept after its last byte, ``quota`` the bytes that one user's uploads may take."""

    def __init__(
        self, root: Path, rows: UploadRows, clock: Clock, *, life: timedelta, quota: int, reserve: float = 0.15
    ) -> None:
        self._folder, self._rows, self._clock = Folder(root), rows, clock
        self._life, self._reserve, self.most = life, reserve, quota
        self._threads, self._mark = CapacityLimiter(_THREADS), ""
        self._log = structlog.get_logger(part="uploads")

    # --- rows and files -------------------------------------------------------------------------------------

    async def _row(self, upload_id: str) -> UploadRow:
        """NoUpload, also of one whose time is over."""
        if not ID(upload_id):
            raise NoUpload
        row = await self._rows.upload(upload_id, await self._ours())
        if row.expires_at is not None and row.expires_at <= self._clock.now():
            raise NoUpload
        return row

    async def _present(self, upload_id: str) -> tuple[UploadRow, Found]:
        """NoUpload."""
        row = await self._row(upload_id)
        found = await self._run(lambda: self._folder.look(upload_id, safe=True))
        if found is None:
            raise NoUpload
        return row, found

    async def _settled(self, row: UploadRow, found: Found, told: Teller) -> Upload:
        """A crash may have come between the last byte and the name, or between the name and the row. Busy."""
        upload = known(row, found)
        if upload.complete or upload.offset < upload.length:
            return upload
        part = await self._claimed(row.id)
        if part is None:
            return await self._completed(row, told)
        try:
            return await self._finished(row, part, told)
        finally:
            await self._whole(part.close)

    async def _finished(self, row: UploadRow, part: Part, told: Teller) -> Upload:
        await self._run(part.finish)
        return await self._completed(row, told)

    async def _completed(self, row: UploadRow, told: Teller) -> Upload:
        upload = known(replace(row, expires_at=None, acknowledged=None), Found(row.length, True, 0.0))
        await self._rows.complete_upload(row.id, told("upload-complete", upload))
        return upload

    def _ourselves(self, act: Act, upload: Upload) -> Entry:
        """The row of what nobody asked for."""
        before = None if act == "upload-complete" else {"offset": upload.offset}
        return Entry(self._clock.now(), OURSELVES, act, upload.key, before=before)

    # --- the disk -------------------------------------------------------------------------------------------

    async def _admit(self, row: UploadRow) -> None:
        """NoRoom, unless all that has begun, this one with it, can end without touching the reserve."""
        rows = [one for one in await self._rows.uploads_in(row.folder) if one.expires_at is not None]

        def missing() -> int:
            looked = [(one, self._folder.look(one.id)) for one in rows]
            return sum(max(0, one.length - (found.size if found else 0)) for one, found in looked)

        coming = await self._run(missing)
        space = await self._run(self._folder.space)
        if row.length and space.free - coming < self._reserve * space.total:
            raise self._no_room()

    def _no_room(self) -> NoRoom:
        return NoRoom(
            "The server's disk for uploads has no room for this and for what others are uploading:"
            f" {self._reserve:.0%} of it stay free. Discard uploads (ggnet image discard) or images, or enlarge the disk;"
            " then go on, nothing is lost."
        )

    async def _ours(self) -> str:
        self._mark = self._mark or await self._run(self._folder.mark)
        return self._mark

    async def _claimed(self, upload_id: str) -> Part | None:
        """Busy; NoUpload for what is no id."""
        if not ID(upload_id):
            raise NoUpload
        return await self._run(self._folder.claim, upload_id)

    async def _whole(self, work: Callable[..., T], *arguments: object) -> T:
        """To its end, also when nobody waits any more."""
        with anyio.CancelScope(shield=True):
            done = await self._run(work, *arguments)
        return done  # noqa: RET504 a scope might swallow what it cuts, as the checker sees it

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        """In a thread. NoRoom, FolderUnusable."""
        try:
            return await to_thread.run_sync(work, *arguments, limiter=self._threads)
        except Busy:
            raise
        except OSError as error:
            if error.errno in _FULL:
                raise self._no_room() from error
            self._log.error("upload folder failed", error=str(error))
            reason = error.strerror or "not as it should be"
            raise FolderUnusable(f"The upload folder of the server cannot be used: {reason}; see ggnet doctor.") from error


def known(row: UploadRow, found: Found) -> Upload:
    kept = found.size if row.acknowledged is None or found.whole else min(found.size, row.acknowledged)
    expires = row.expires_at
    return Upload(row.id, row.owner, row.owner_name, row.described, row.length, kept, row.created_at, expires)
