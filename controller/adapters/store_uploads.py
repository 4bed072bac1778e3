"""What is known of uploads beside their bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.database import Database
from controller.adapters.statements import lock
from controller.adapters.store_trail import Trail
from controller.adapters.tables import RESOURCE_VERSION
from controller.adapters.tables_identity import users
from controller.adapters.tables_uploads import uploads
from controller.ports.audit import Entry, Told
from controller.ports.uploads import NoUpload, OverQuota, Place, TooManyUploads
from manifests.types import Size

MOST = 20  # unfinished uploads of one user: each may have a request that writes, and a piece in memory
_LOCAL = "admin"


@dataclass(frozen=True, slots=True)
class UploadRow:
    """``owner_name`` is read, never written: it goes with the account."""

    id: str
    folder: str
    owner: str
    described: str
    length: int
    acknowledged: int | None
    created_at: datetime
    expires_at: datetime | None
    owner_name: str = ""


class UploadRows:
    """Each method is one transaction, the audit row ``told`` with it, and may raise StoreError."""

    _db: Database
    _trail: Trail

    async def add_upload(self, row: UploadRow, quota: int, told: Entry) -> None:
        """OverQuota, TooManyUploads. Of two at once the second counts the first."""
        values = {column.name: getattr(row, column.name) for column in uploads.columns}
        async with self._db.write() as conn:
            await lock(conn, RESOURCE_VERSION)
            await _admit(conn, row, quota)
            await conn.execute(insert(uploads).values(values))
            await self._trail.note(conn, [told])

    async def upload(self, upload_id: str, folder: str) -> UploadRow:
        """NoUpload."""
        async with self._db.read() as conn:
            row = (await conn.execute(_named().where(uploads.c.id == upload_id, uploads.c.folder == folder))).one_or_none()
        if row is None:
            raise NoUpload
        return _row(row)

    async def uploads(self, folder: str, owner: str | None, after: Place | None, limit: int) -> Sequence[UploadRow]:
        """The newest first."""
        query = _named().where(uploads.c.folder == folder).order_by(uploads.c.created_at.desc(), uploads.c.id.desc())
        if owner is not None:
            query = query.where(uploads.c.owner == owner)
        if after is not None:
            same = and_(uploads.c.created_at == after.created_at, uploads.c.id < after.id)
            query = query.where(or_(uploads.c.created_at < after.created_at, same))
        async with self._db.read() as conn:
            return [_row(row) for row in await conn.execute(query.limit(limit))]

    async def uploads_in(self, folder: str) -> Sequence[UploadRow]:
        """All of them."""
        async with self._db.read() as conn:
            return [_row(row) for row in await conn.execute(_named().where(uploads.c.folder == folder))]

    async def change_upload(self, upload_id: str, **values: Any) -> None:
        """NoUpload."""
        query = update(uploads).where(uploads.c.id == upload_id).values(**values)
        async with self._db.write() as conn:
            if not (await conn.execute(query)).rowcount:
                raise NoUpload

    async def complete_upload(self, upload_id: str, told: Entry) -> bool:
        """All its bytes are kept; False when that was known. NoUpload."""
        query = select(uploads.c.expires_at).where(uploads.c.id == upload_id).with_for_update()
        async with self._db.write() as conn:
            row = (await conn.execute(query)).one_or_none()
            if row is None:
                raise NoUpload
            if row.expires_at is None:
                return False
            values = {"expires_at": None, "acknowledged": None}
            await conn.execute(update(uploads).where(uploads.c.id == upload_id).values(values))
            await self._trail.note(conn, [told])
        return True

    async def drop_upload(self, upload_id: str, told: Entry) -> None:
        """NoUpload."""
        async with self._db.write() as conn:
            if not (await conn.execute(delete(uploads).where(uploads.c.id == upload_id))).rowcount:
                raise NoUpload
            await self._trail.note(conn, [told])

    async def forget_uploads(self, folder: str, before: datetime, told: Told[str]) -> None:
        """Those that expired so long ago in another folder that nobody can be left to look after it; ``told`` is given the
        id of each."""
        old = delete(uploads).where(uploads.c.folder != folder, uploads.c.expires_at < before).returning(uploads.c.id)
        async with self._db.write() as conn:
            gone = sorted((await conn.execute(old)).scalars())
            if gone:
                await self._trail.note(conn, [told(one) for one in gone])


async def _admit(conn: AsyncConnection, row: UploadRow, quota: int) -> None:
    """OverQuota, TooManyUploads."""
    open_ones = func.count(uploads.c.expires_at)
    query = select(func.coalesce(func.sum(uploads.c.length), 0), open_ones).where(uploads.c.owner == row.owner)
    total, unfinished = (await conn.execute(query)).one()
    taken = int(total)
    if taken + row.length > quota:
        raise OverQuota(
            f"Upload-Length: with {row.length} bytes more your uploads would take {taken + row.length}, and a user has"
            f" {Size(quota)} (GGNET_UPLOAD_QUOTA): discard one that you no longer need (ggnet image discard)."
        )
    if unfinished >= MOST:
        raise TooManyUploads(
            f"You have {MOST} unfinished uploads: finish or discard one (ggnet image uploads, ggnet image discard)."
        )


def _named() -> Select[Any]:
    return select(uploads, users.c.name.label("owner_name")).outerjoin(users, users.c.uid == uploads.c.owner)


def _row(row: Row[Any]) -> UploadRow:
    values = {column.name: getattr(row, column.name) for column in uploads.columns}
    return UploadRow(**values, owner_name=row.owner_name or ("" if row.owner else _LOCAL))
