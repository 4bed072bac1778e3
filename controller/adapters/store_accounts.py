"""People and their keys in the database. Whatever changes who may come in advances one counter, which replicas watch."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.database import Database
from controller.adapters.store_logins import end_logins, forgive
from controller.adapters.store_trail import Trail
from controller.adapters.tables import counters
from controller.adapters.tables_identity import ACCOUNTS, api_keys, users
from controller.ports.accounts import ApiKey, Directory, Ending, RoleName, Standing, TooManyKeys, User
from controller.ports.audit import Entry, Told
from controller.ports.store import Conflict, NotFound

MOST = 100  # API keys of one owner: every API process holds all of them


class AccountRows:
    _db: Database
    _trail: Trail

    async def directory(self, known: int | None = None) -> Directory | None:
        async with self._db.read() as conn:
            version = (await conn.execute(select(counters.c.value).where(counters.c.name == ACCOUNTS))).scalar_one()
            if version == known:
                return None
            people = (await conn.execute(select(users.c.uid, users.c.name, users.c.role, users.c.disabled))).all()
            keys = (await conn.execute(select(api_keys))).all()
        standing = {one.uid: Standing(one.name, one.role, one.disabled) for one in people}
        return Directory(version, standing, {one.id: _key(one) for one in keys})

    async def user(self, name: str) -> User | None:
        async with self._db.read() as conn:
            row = (await conn.execute(select(users).where(users.c.name == name))).one_or_none()
        return None if row is None else _user(row)

    async def users(self, after: str = "", limit: int = 500) -> Sequence[User]:
        query = select(users).where(users.c.name > after).order_by(users.c.name).limit(limit)
        async with self._db.read() as conn:
            return [_user(row) for row in await conn.execute(query)]

    async def add_user(self, user: User, told: Entry) -> bool:
        values = {
            "name": user.name,
            "uid": user.uid,
            "role": user.role,
            "password": user.password,
            "disabled": user.disabled,
            "created_at": user.created_at,
        }
        query = self._db.insert(users).values(values).on_conflict_do_nothing(index_elements=[users.c.name])
        async with self._db.write() as conn:
            added = bool((await conn.execute(query)).rowcount)
            if added:
                await _changed(conn)
                await self._trail.note(conn, [told])
        return added

    async def change_user(
        self,
        name: str,
        *,
        role: RoleName | None = None,
        disabled: bool | None = None,
        password: str | None = None,
        if_password: str | None = None,
        ends: Ending | None = None,
        forgiven: str | None = None,
        told: Told[User],
    ) -> tuple[User, Sequence[str]]:
        wanted: dict[str, Any] = {"role": role, "disabled": disabled, "password": password}
        values = {field: value for field, value in wanted.items() if value is not None}
        async with self._db.write() as conn:
            row = (await conn.execute(select(users).where(users.c.name == name).with_for_update())).one_or_none()
            if row is None:
                raise NotFound(f"There is no user {name}.")
            if if_password not in (None, row.password):
                raise Conflict("The password was changed meanwhile: log in with the new one.")
            if values:
                await conn.execute(update(users).where(users.c.uid == row.uid).values(values))
                await _changed(conn)
            ended = await end_logins(self._db, conn, row.uid, ends) if ends else []
            if forgiven is not None:
                await forgive(conn, forgiven)
            await self._trail.note(conn, [told(_user(row))])
        return _user(row, **values), ended

    async def remove_user(self, name: str, forgiven: str, told: Entry) -> User:
        async with self._db.write() as conn:
            row = (await conn.execute(delete(users).where(users.c.name == name).returning(users))).one_or_none()
            if row is None:
                raise NotFound(f"There is no user {name}.")
            await forgive(conn, forgiven)
            await _changed(conn)
            await self._trail.note(conn, [told])
        return _user(row)


class ApiKeyRows:
    _db: Database
    _trail: Trail

    async def keys(self) -> Sequence[ApiKey]:
        async with self._db.read() as conn:
            rows = await conn.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
            return [_key(row) for row in rows]

    async def add_key(self, key: ApiKey, told: Entry) -> None:
        values = {
            "id": key.id,
            "owner": key.owner,
            "name": key.name,
            "digest": key.digest,
            "scopes": list(key.scopes),
            "created_at": key.created_at,
            "expires_at": key.expires_at,
        }
        async with self._db.write() as conn:
            try:
                await conn.execute(insert(api_keys).values(values))
            except IntegrityError:
                raise NotFound("The key's owner is gone.") from None
            await _changed(conn)  # and wait for whoever adds another
            theirs = select(func.count()).where(api_keys.c.owner.is_not_distinct_from(key.owner))
            if (await conn.execute(theirs)).scalar_one() > MOST:
                raise TooManyKeys(f"There are {MOST} API keys of this owner: revoke one (ggnet token list).")
            await self._trail.note(conn, [told])

    async def rotate_key(self, id: str, digest: str, told: Entry) -> ApiKey:
        query = update(api_keys).where(api_keys.c.id == id).values(digest=digest, last_used=None).returning(api_keys)
        async with self._db.write() as conn:
            row = (await conn.execute(query)).one_or_none()
            if row is None:
                raise NotFound(f"There is no token {id}.")
            await _changed(conn)
            await self._trail.note(conn, [told])
        return _key(row)

    async def remove_key(self, id: str, told: Entry) -> ApiKey:
        async with self._db.write() as conn:
            row = (await conn.execute(delete(api_keys).where(api_keys.c.id == id).returning(api_keys))).one_or_none()
            if row is None:
                raise NotFound(f"There is no token {id}.")
            await _changed(conn)
            await self._trail.note(conn, [told])
        return _key(row)

    async def key_used(self, id: str, at: datetime, apart: float) -> None:
        long_ago = api_keys.c.last_used.is_(None) | (api_keys.c.last_used <= at - timedelta(seconds=apart))
        async with self._db.write() as conn:
            await conn.execute(update(api_keys).where(api_keys.c.id == id, long_ago).values(last_used=at))


async def _changed(conn: AsyncConnection) -> None:
    await conn.execute(update(counters).where(counters.c.name == ACCOUNTS).values(value=counters.c.value + 1))


def _user(row: Row[Any], **changed: Any) -> User:
    values = {**row._mapping, **changed}
    return User(**values)


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(**{**row._mapping, "scopes": tuple(row.scopes)})
