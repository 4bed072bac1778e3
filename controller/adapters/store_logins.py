"""Logins in the database: refresh tokens in families, failures by subject, what was revoked."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Column, ColumnElement, Delete, case, delete, insert, literal, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.database import Database
from controller.adapters.statements import execute_many
from controller.adapters.store_trail import Trail
from controller.adapters.tables_identity import login_failures, login_families, refresh_tokens, revoked, users
from controller.ports.accounts import Ending
from controller.ports.audit import Entry, Told
from controller.ports.logins import Family, Reused, Use
from controller.ports.store import Conflict

_PRUNED = 1000


def _prune(key: Column[str], over: ColumnElement[bool]) -> Delete:
    """Some of what has expired, but nothing that another writer has in hand: two that prune never wait for each other."""
    some = select(key).where(over).limit(_PRUNED).with_for_update(skip_locked=True)
    return delete(key.table).where(key.in_(some))


class LoginRows:
    """Used tokens are kept until they expire, because only then can their second use be told from a guess."""

    _db: Database
    _trail: Trail

    async def open_family(
        self, family: Family, digest: str, now: datetime, expires: datetime, *, password: str, told: Entry
    ) -> None:
        owner = (users.c.uid == family.owner) & (users.c.password == password) & users.c.disabled.is_(False)
        async with self._db.write() as conn:
            if not (await conn.execute(update(users).where(owner).values(last_login=now))).rowcount:
                raise Conflict("The account was changed while it logged in: log in again.")
            await conn.execute(_prune(refresh_tokens.c.digest, refresh_tokens.c.expires_at <= now))
            await conn.execute(_prune(login_families.c.id, login_families.c.expires_at <= now))
            values = {"id": family.id, "owner": family.owner, "expires_at": expires, "closed": False}
            await conn.execute(insert(login_families).values(values))
            token = {"digest": digest, "family": family.id, "expires_at": expires, "used": False}
            await conn.execute(insert(refresh_tokens).values(token))
            await self._trail.note(conn, [told])

    async def rotate(
        self, digest: str, successor: str, now: datetime, expires: datetime, *, until: datetime, told: Told[Use]
    ) -> Family | None:
        query = (
            select(refresh_tokens.c.used, refresh_tokens.c.expires_at.label("until"), login_families)
            .join(login_families, login_families.c.id == refresh_tokens.c.family)
            .where(refresh_tokens.c.digest == digest)
            .with_for_update()  # of two that come at once the second sees that it was used
        )
        async with self._db.write() as conn:
            row = (await conn.execute(query)).one_or_none()
            if row is None or row.closed or row.until <= now:
                return None
            family, ours = Family(row.id, row.owner), login_families.c.id == row.id
            if row.used:
                await conn.execute(update(login_families).where(ours).values(closed=True))
                await _revoke(self._db, conn, [family.id], now, until)
            else:
                await conn.execute(update(login_families).where(ours).values(expires_at=expires))
                await conn.execute(update(refresh_tokens).where(refresh_tokens.c.digest == digest).values(used=True))
                token = {"digest": successor, "family": family.id, "expires_at": expires, "used": False}
                await conn.execute(insert(refresh_tokens).values(token))
            await self._trail.note(conn, [told(Use(family, row.used))])
        if row.used:
            raise Reused(family)
        return family

    async def close_family(self, id: str, now: datetime, until: datetime, told: Entry) -> None:
        async with self._db.write() as conn:
            await conn.execute(update(login_families).where(login_families.c.id == id).values(closed=True))
            await _revoke(self._db, conn, [id], now, until)
            await self._trail.note(conn, [told])


async def end_logins(db: Database, conn: AsyncConnection, owner: str, ends: Ending) -> Sequence[str]:
    """The ids of those that were open. Needs the lock of the owner's row, so that none opens meanwhile."""
    theirs = [login_families.c.owner == owner, login_families.c.closed.is_(False)]
    if ends.keep is not None:
        theirs.append(login_families.c.id != ends.keep)
    query = update(login_families).where(*theirs).values(closed=True).returning(login_families.c.id)
    ended = list((await conn.execute(query)).scalars())
    await _revoke(db, conn, ended, ends.now, ends.until)
    return ended


class LockoutRows:
    _db: Database

    async def locked(self, subjects: Collection[str], now: datetime) -> Mapping[str, datetime]:
        query = select(login_failures.c.subject, login_failures.c.locked_until).where(
            login_failures.c.subject.in_(subjects), login_failures.c.locked_until > now
        )
        async with self._db.read() as conn:
            return {row.subject: row.locked_until for row in await conn.execute(query)}

    async def failed(self, subjects: Collection[str], now: datetime, most: int, seconds: float) -> None:
        recent, until = now - timedelta(seconds=seconds), now + timedelta(seconds=seconds)
        old = login_failures.c
        count = case((old.last > recent, old.failures + 1), else_=1)
        lock = case((old.locked_until > now, old.locked_until), (count >= most, literal(until, old.locked_until.type)))
        rows = [
            {"subject": subject, "failures": 1, "last": now, "locked_until": until if most <= 1 else None}
            for subject in sorted(subjects)  # in one order, or two that fail at once would wait for each other
        ]
        query = self._db.insert(login_failures).on_conflict_do_update(
            index_elements=[old.subject],
            set_={"failures": count, "last": now, "locked_until": lock},
        )
        over = (old.last <= recent) & (old.locked_until.is_(None) | (old.locked_until <= now))
        async with self._db.write() as conn:
            await execute_many(conn, query, rows)
            await conn.execute(_prune(old.subject, over))

    async def forgive(self, subject: str) -> None:
        async with self._db.write() as conn:
            await forgive(conn, subject)


async def forgive(conn: AsyncConnection, subject: str) -> None:
    row = login_failures.c.subject == subject
    await conn.execute(update(login_failures).where(row).values(failures=0, locked_until=null()))


class RevocationRows:
    _db: Database

    async def revoke(self, ids: Collection[str], now: datetime, until: datetime) -> None:
        async with self._db.write() as conn:
            await _revoke(self._db, conn, ids, now, until)

    async def revoked(self, now: datetime) -> Mapping[str, datetime]:
        async with self._db.read() as conn:
            rows = await conn.execute(select(revoked.c.id, revoked.c.until).where(revoked.c.until > now))
            return {row.id: row.until for row in rows}


async def _revoke(db: Database, conn: AsyncConnection, ids: Collection[str], now: datetime, until: datetime) -> None:
    new = db.insert(revoked)
    query = new.on_conflict_do_update(index_elements=[revoked.c.id], set_={"until": new.excluded.until})
    await conn.execute(_prune(revoked.c.id, revoked.c.until <= now))
    if ids:
        await execute_many(conn, query, [{"id": id, "until": until} for id in sorted(ids)])
