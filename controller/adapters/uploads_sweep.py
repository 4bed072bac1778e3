"""Uploads that nobody goes on with, and what of rows and files lacks the other.

Nothing is taken from being absent alone: rows are judged only beside the folder that bears their mark, and a file is looked
for again under the names that it can have.
"""

from datetime import timedelta

from controller.adapters.store_uploads import UploadRow
from controller.adapters.uploads_folder import NOTHING
from controller.adapters.uploads_kept import KeptUploads, known
from controller.ports.audit import OURSELVES, Entry
from controller.ports.uploads import Busy, FolderUnusable, NoUpload, Swept, Upload

_FRESH = timedelta(minutes=10)  # a row whose file is missing is about to have one


class SweptUploads(KeptUploads):
    async def sweep(self) -> Swept:
        mark = await self._run(self._folder.mark)
        if self._mark not in ("", mark):
            raise FolderUnusable("The upload folder is another one than at the start: see that its disk is mounted.")
        self._mark, now = mark, self._clock.now()
        await self._rows.forget_uploads(mark, now - self._life, self._forgotten)
        rows = await self._rows.uploads_in(mark)
        swept = [await self._judged(row) for row in rows]
        known = {row.id for row in rows}
        strays = [one for one in await self._run(lambda: sorted(set(self._folder.ids()))) if one not in known]
        return Swept(
            expired=tuple(one for one, gone in filter(None, swept) if gone),
            completed=tuple(one for one, gone in filter(None, swept) if not gone),
            stray=tuple([one for one in strays if await self._stray(one)]),
        )

    async def _judged(self, row: UploadRow) -> tuple[Upload, bool] | None:
        """What became of it, and whether it is gone; None when nothing did."""
        found = await self._run(self._folder.look, row.id)
        if found is None:
            if row.created_at < self._clock.now() - _FRESH:
                lost = known(row, NOTHING)
                await self._rows.drop_upload(row.id, self._ourselves("upload-lose", lost))
            return None
        upload = known(row, found)
        try:
            if not upload.complete and upload.offset == upload.length:
                return await self._settled(row, found, self._ourselves), False
            return await self._expired(upload)
        except (Busy, NoUpload):
            return None  # somebody is at it: it is not for us

    async def _expired(self, upload: Upload) -> tuple[Upload, bool] | None:
        """Its time may have been lengthened until it was ours. Busy, NoUpload."""
        if upload.expires_at is None or upload.expires_at > self._clock.now():
            return None
        part = await self._claimed(upload.id)
        if part is None:
            return None
        try:
            row = await self._rows.upload(upload.id, self._mark)
            if row.expires_at is None or row.expires_at > self._clock.now():
                return None
            await self._rows.drop_upload(upload.id, self._ourselves("upload-expire", upload))
            await self._whole(self._folder.drop, upload.id)
        finally:
            await self._whole(part.close)
        return upload, True

    def _forgotten(self, upload_id: str) -> Entry:
        return Entry(self._clock.now(), OURSELVES, "upload-expire", f"Upload/{upload_id}")

    async def _stray(self, upload_id: str) -> bool:
        """Removes the file that no row knows, when nobody has touched it for as long as an upload may live."""
        found = await self._run(self._folder.look, upload_id)
        if found is None or found.changed > (self._clock.now() - self._life).timestamp():
            return False
        try:
            await self._rows.upload(upload_id, self._mark)
        except NoUpload:
            await self._run(self._folder.drop, upload_id)
            return True
        return False
