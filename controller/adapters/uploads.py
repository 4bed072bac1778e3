"""Uploads in a folder: the bytes in files, and beside them rows that say whose they are."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from secrets import token_hex

import anyio

from controller.adapters.blocks import Block, blocks
from controller.adapters.store_uploads import UploadRow
from controller.adapters.uploads_folder import NOTHING, Found, Part
from controller.adapters.uploads_kept import known
from controller.adapters.uploads_sweep import SweptUploads
from controller.ports.uploads import Checksum, ChecksumMismatch, Place, Teller, TooLong, Upload, WrongOffset

_SETTLED = 128 << 20  # bytes after which the disk is waited for, so that the last wait is short
_AGAIN = 10  # parts of its life after which a long piece is noted


class FolderUploads(SweptUploads):
    """Answers ``Uploads``."""

    # --- the port -------------------------------------------------------------------------------------------

    async def create(self, owner: str, length: int, metadata: str, told: Teller) -> Upload:
        now = self._clock.now()
        row = UploadRow(token_hex(16), await self._ours(), owner, metadata, length, None, now, now + self._life)
        made = known(row, NOTHING)
        await self._rows.add_upload(row, self.most, told("upload-create", made))
        try:
            await self._admit(row)
            await self._run(self._folder.make, row.id)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._rows.drop_upload(row.id, told("upload-delete", made))
            raise
        return await self._settled(*await self._present(row.id), told)

    async def find(self, upload_id: str) -> Upload:
        row, found = await self._present(upload_id)
        return await self._settled(row, found, self._ourselves)

    async def list(self, owner: str | None, after: Place | None, limit: int) -> tuple[Sequence[Upload], Place | None]:
        found = await self._rows.uploads(await self._ours(), owner, after, limit + 1)
        rows, last = found[:limit], found[limit - 1] if len(found) > limit else None
        looked = await self._run(lambda: [self._folder.look(row.id) for row in rows])
        shown = [known(row, one) for row, one in zip(rows, looked, strict=True) if one is not None]
        return shown, None if last is None else Place(last.created_at, last.id)

    async def append(
        self,
        upload_id: str,
        offset: int,
        pieces: AsyncIterator[bytes],
        size: int | None,
        told: Teller,
        checksum: Checksum | None = None,
    ) -> Upload:
        part = await self._claimed(upload_id)
        if part is None:
            return await self._nothing_more(upload_id, offset, size)
        try:
            row = await self._row(upload_id)
            start = min(part.end, row.length if row.acknowledged is None else row.acknowledged)
            if offset != start:
                raise WrongOffset(start)
            if size is not None and start + size > row.length:
                raise _too_long(row, start)
            await self._run(part.cut, start)
            await self._begin(row, start if checksum else None)
            await self._take(row, part, start, pieces, checksum)
            return await self._end(row, part, told, checked=checksum is not None)
        finally:
            await self._whole(part.close)

    async def remove(self, upload_id: str, told: Teller) -> None:
        row = await self._row(upload_id)
        part = await self._claimed(upload_id)
        try:
            found = await self._run(self._folder.look, upload_id) or NOTHING
            await self._rows.drop_upload(upload_id, told("upload-delete", known(row, found)))
            await self._whole(self._folder.drop, upload_id)
        finally:
            if part is not None:
                await self._whole(part.close)

    # --- one piece ------------------------------------------------------------------------------------------

    async def _begin(self, row: UploadRow, acknowledged: int | None) -> None:
        if row.acknowledged != acknowledged:
            await self._rows.change_upload(row.id, acknowledged=acknowledged)

    async def _take(
        self, row: UploadRow, part: Part, start: int, pieces: AsyncIterator[bytes], checksum: Checksum | None
    ) -> None:
        """The pieces into the part, and onto the disk. Cut short, it stays at what counts."""
        if checksum is not None:
            part.check(checksum.algorithm)
        try:
            await self._write(row, part, start, pieces)
            await self._run(part.settle)
            if checksum is not None and part.digest != checksum.digest:
                raise ChecksumMismatch
        except BaseException:
            await (self._whole(part.settle) if checksum is None else self._whole(part.cut, start))
            await self._kept(row)
            raise

    async def _write(self, row: UploadRow, part: Part, start: int, pieces: AsyncIterator[bytes]) -> None:
        noted = self._clock.now()
        async with aclosing(blocks(pieces)) as coming:
            block = await anext(coming, None)
            while block is not None:
                if part.end + sum(map(len, block)) > row.length:
                    raise _too_long(row, start)
                block = await self._both(part, block, coming)
                if self._clock.now() - noted > self._life / _AGAIN:
                    noted = self._clock.now()
                    await self._rows.change_upload(row.id, expires_at=noted + self._life)

    async def _both(self, part: Part, block: Block, coming: AsyncGenerator[Block, None]) -> Block | None:
        """One block onto the disk, whatever happens, while the next comes in: that one, None at the end."""
        following: Block | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._whole, self._put, part, block)
                following = await anext(coming, None)
        except ExceptionGroup as group:
            error = _first(group)
            raise error from error.__cause__
        return following

    def _put(self, part: Part, block: Block) -> None:
        """NoRoom before the reserve is touched: others have written meanwhile."""
        space = self._folder.space()
        if space.free - sum(map(len, block)) < self._reserve * space.total:
            raise self._no_room()
        part.write(block)
        if part.end - part.safe >= _SETTLED:
            part.settle()

    async def _end(self, row: UploadRow, part: Part, told: Teller, *, checked: bool) -> Upload:
        """It is all on the disk: what is told of it now stays true."""
        if part.end == row.length:
            return await self._finished(row, part, told)
        expires = self._clock.now() + self._life
        acknowledged = part.end if checked else None
        await self._rows.change_upload(row.id, expires_at=expires, acknowledged=acknowledged)
        return replace(known(row, Found(part.end, False, 0.0)), offset=part.end, expires_at=expires)

    async def _kept(self, row: UploadRow) -> None:
        """A day from the byte that came last, whatever ended it."""
        with anyio.CancelScope(shield=True):
            await self._rows.change_upload(row.id, expires_at=self._clock.now() + self._life)

    async def _nothing_more(self, upload_id: str, offset: int, size: int | None) -> Upload:
        """To one that is complete only nothing can be added."""
        upload = await self.find(upload_id)
        if offset != upload.length:
            raise WrongOffset(upload.length)
        if size != 0:
            raise TooLong("The upload is complete: it takes no more bytes.")
        return upload


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _too_long(row: UploadRow, start: int) -> TooLong:
    left = row.length - start
    return TooLong(f"Upload-Length is {row.length} bytes, of which {left} are missing: send no more.")
