"""How rows are appended to the audit log: in the transaction of what they tell of, as the last thing it does.

Every transaction that appends takes the lock of the head last, behind the other counters, so that nobody waits in a
circle and the chain cannot fork.
"""

import hmac
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import anyio.lowlevel
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.statements import batches
from controller.adapters.store_rows import Row, in_force
from controller.adapters.tables import HEAD, actors, audit, audit_marks
from controller.core.chain import Mark, Said, seal
from controller.core.masking import canonical, difference, one_line, told
from controller.ports.audit import Actor, Entry

USER = "api:"
_APPEND = insert(audit)
_Values = tuple[Any, ...]  # a row of the table ``audit``, column by column
_MOVED: dict[str, Any] = {"seq": bindparam("to"), "hash": bindparam("as")}
_SET = update(audit_marks).where(audit_marks.c.name == bindparam("mark")).values(_MOVED)
_HEAD = audit_marks.c.name == HEAD
_MOVE = update(audit_marks).where(_HEAD, audit_marks.c.hash == bindparam("was")).values(_MOVED)
_LOCKED = select(audit_marks.c.seq, audit_marks.c.hash).where(_HEAD).with_for_update()
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one object: its two sides as plain values, None where there was or is none."""

    key: str
    action: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


def sides(row: Row) -> dict[str, Any]:
    """What people say of an object, and whose it is. A user's name stands beside the change, never in it."""
    manager, deleted = row["managed_by"], row["deleted_at"]
    metadata: dict[str, Any] = {
        "labels": row["labels"],
        "annotations": in_force(row),
        "managedBy": USER[:-1] if manager.startswith(USER) else manager,
    }
    if deleted is not None:
        metadata["deletedAt"] = instant(deleted)
    if row["overridden_by"] is not None:
        metadata["overridden"] = True
    return {"metadata": metadata, "spec": row["spec"]}


def changes(
    rows: Mapping[str, Row], created: Sequence[Row], changed: Sequence[Row], deleted: Sequence[Row], verb: str = "update"
) -> Iterator[Change]:
    """Of a write, one an object. ``rows`` are what was there, as far as it was looked at."""
    for values in created:
        yield Change(values["key"], "create" if values["generation"] == 1 else "restore", None, sides(values))
    for values in changed:
        yield Change(values["row"], verb, sides(rows[values["row"]]), sides(values))
    for values in deleted:
        before = rows.get(values["row"])
        if before is None:
            yield Change(values["row"], "delete", {}, {"metadata": {"deletedAt": instant(values["deleted_at"])}})
        else:
            act = "delete" if before["deleted_at"] is None else "annotate"
            yield Change(values["row"], act, sides(before), sides({**before, **values}))


@dataclass(slots=True)
class Trail:
    """One store's end of the chain: what it remembers of its own last append saves it two reads.

    It is believed only while the head is still the one that this store wrote: anything else that happened to the log, an
    erasure or a rollback included, has moved it.
    """

    _head: Mark | None = None
    _known: dict[tuple[str, str], str] = field(default_factory=dict)
    _sql: str = ""

    async def append(self, conn: AsyncConnection, by: Actor, at: datetime, made: Sequence[Change]) -> None:
        """One row a change."""
        if len(made) == 1 and self._head is not None and (actor := self._known.get((by.name, by.address))):
            rows = list[_Values]()
            last = _rows(self._head, actor, by, at, made, rows)
            if (await conn.execute(_MOVE, {"was": self._head.hash, "to": last.seq, "as": last.hash})).rowcount:
                await self._insert(conn, rows)
                self._head = last
                return
        if not made:
            return
        head = await self._locked(conn)
        actor = await self._identity(conn, by.name, by.address)
        for batch in batches(made):
            rows = []
            head = _rows(head, actor, by, at, batch, rows)
            await self._insert(conn, rows)
            await anyio.lowlevel.checkpoint()
        await self._set(conn, head)

    async def note(self, conn: AsyncConnection, entries: Sequence[Entry]) -> None:
        head, rows = await self._locked(conn), list[_Values]()
        for entry in entries:
            said = Said(
                instant(entry.at),
                await self._identity(conn, entry.by.name, entry.by.address),
                one_line(entry.by.request_id),
                one_line(entry.action, 60),
                entry.outcome,
                one_line(entry.object, 400) if entry.object else None,
                await self._identity(conn, user(entry.subject), "") if entry.subject else None,
                entry.count,
                told(entry.before),
                told(entry.after),
            )
            head = _row(head, entry.at, said, rows)
        await self._insert(conn, rows)
        await self._set(conn, head)

    def forget(self) -> None:
        """Some of those that are remembered may be no more."""
        self._head = None
        self._known.clear()

    async def _locked(self, conn: AsyncConnection) -> Mark:
        head = await locked(conn)
        if head != self._head or len(self._known) > _REMEMBERED:
            self._known.clear()
        self._head = None  # until all is written: what fails in between is rolled back, and must not be remembered
        return head

    async def _insert(self, conn: AsyncConnection, rows: Sequence[_Values]) -> None:
        """Past SQLAlchemy's handling of values, which would take twice the time of the rest for ten thousand rows."""
        spelt = audit.c.at.type.bind_processor(conn.dialect)
        if spelt is not None:
            rows = [(seq, spelt(at), *rest) for seq, at, *rest in rows]
        self._sql = self._sql or str(_APPEND.compile(dialect=conn.dialect))
        await conn.exec_driver_sql(self._sql, list(rows))

    async def _set(self, conn: AsyncConnection, head: Mark) -> None:
        await set_mark(conn, HEAD, head)
        self._head = head

    async def _identity(self, conn: AsyncConnection, name: str, address: str) -> str:
        """The digest that stands for this name at this address. Needs the head's lock."""
        if known := self._known.get((name, address)):
            return known
        values = {"name": one_line(name), "address": one_line(address)}
        query = select(actors.c.id).where(*(actors.c[field] == value for field, value in values.items()))
        found: str | None = (await conn.execute(query)).scalar_one_or_none()
        if found is None:
            salt = secrets.token_hex(16)
            found = digest(salt, **values)
            await conn.execute(insert(actors).values(id=found, salt=salt, **values))
        self._known[name, address] = found
        return found


def _rows(head: Mark, actor: str, by: Actor, at: datetime, made: Sequence[Change], rows: list[_Values]) -> Mark:
    when, request = instant(at), one_line(by.request_id)
    for one in made:
        before, after = one.before, one.after
        if before is not None and after is not None:
            before, after = difference(before, after)
        said = Said(when, actor, request, one.action, "ok", one.key, None, 1, told(before), told(after))
        head = _row(head, at, said, rows)
    return head


async def mark(conn: AsyncConnection, name: str) -> Mark:
    query = select(audit_marks.c.seq, audit_marks.c.hash).where(audit_marks.c.name == name)
    seq, held = (await conn.execute(query)).one()
    return Mark(seq, held)


async def locked(conn: AsyncConnection) -> Mark:
    """The head; on PostgreSQL nobody else appends until this transaction ends."""
    seq, held = (await conn.execute(_LOCKED)).one()
    return Mark(seq, held)


async def set_mark(conn: AsyncConnection, name: str, to: Mark) -> None:
    await conn.execute(_SET, {"mark": name, "to": to.seq, "as": to.hash})


def _row(head: Mark, at: datetime, said: Said, rows: list[_Values]) -> Mark:
    seq = head.seq + 1
    made = Mark(seq, seal(head.hash, seq, said))
    rows.append((seq, at, *said[1:], head.hash, made.hash))
    return made


def instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def user(name: str) -> str:
    """A user's name as it stands in the log, between sources and ourselves."""
    return name if name.startswith(USER) else USER + name


def digest(salt: str, name: str, address: str) -> str:
    return hmac.digest(salt.encode(), canonical([name, address]).encode(), "sha256").hex()
