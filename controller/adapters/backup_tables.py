"""Tables as lines of JSON, the same from SQLite and from PostgreSQL, so that either restores into either.

Columns are read as the database describes them, not through our own column types: what lies there comes back as it lay,
also in the schema of an older version, which the program's tables no longer describe.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import (
    JSON,
    Boolean,
    Connection,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    cast,
    func,
    insert,
    select,
    text,
)
from sqlalchemy import Column as SqlColumn
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import ColumnElement

from controller.adapters.backup_archive import Column, Kind, TablePart, digest
from controller.adapters.statements import BATCH
from controller.ports.backup import BackupError

# In this order: a type may be a kind of a later one.
_KINDS: tuple[tuple[type[Any], Kind], ...] = (
    (JSON, "json"),
    (Boolean, "bool"),
    (DateTime, "time"),
    (LargeBinary, "bytes"),
    (Integer, "int"),
    (Float, "float"),
    (String, "text"),
)
_LINE_LIMIT = 64 << 20


async def described(conn: AsyncConnection, names: Iterable[str]) -> list[Table]:
    """These tables as the database has them, each after those that it refers to."""
    found = MetaData()

    def reflect(sync: Connection) -> None:
        found.reflect(sync, only=sorted(names))

    await conn.run_sync(reflect)
    return found.sorted_tables


async def dump(conn: AsyncConnection, table: Table, folder: Path) -> TablePart:
    """The table's rows, in the order of its key, into a file in ``folder``. BackupError, OSError."""
    columns = [Column(name=column.name, kind=_kind(column)) for column in table.columns]
    name = f"tables/{table.name}.jsonl"
    path = folder / f"{table.name}.jsonl"
    query = select(*map(_shown, table.columns)).order_by(*table.primary_key.columns)
    rows = 0
    with open_private(path) as file:
        async for some in (await conn.stream(query)).partitions(BATCH):
            rows += len(some)
            file.writelines(_line(columns, row) for row in some)
    size, sha256 = digest(path)
    return TablePart(name=name, size=size, sha256=sha256, table=table.name, rows=rows, columns=tuple(columns))


def open_private(path: Path) -> IO[bytes]:
    return path.open("xb")


async def load(conn: AsyncConnection, table: Table, part: TablePart, body: Iterator[bytes]) -> None:
    """The rows of a part into an empty table; what stands there without an id of its own goes on after them. BackupError."""
    here = {column.name: _kind(column) for column in table.columns}
    there = {column.name: column.kind for column in part.columns}
    if here != there:
        differing = sorted(here.items() ^ there.items())[0][0]
        raise BackupError(f"{part.name} does not fit the table {table.name}: see its column {differing!a}")
    postgresql = conn.dialect.name == "postgresql"
    columns = [table.columns[column.name] for column in part.columns]
    query = insert(table).values({column.name: _bound(column, postgresql) for column in columns})
    rows = 0
    for some in _batches(_rows(part, columns, body, postgresql)):
        await conn.execute(query, some)
        rows += len(some)
    if rows != part.rows:
        raise BackupError(f"{part.name} holds {rows} rows, not {part.rows}: take another backup")
    if postgresql:
        await _go_on(conn, table)


def _kind(column: SqlColumn[Any]) -> Kind:
    for known, kind in _KINDS:
        if isinstance(column.type, known):
            return kind
    raise BackupError(f"the column {column.table.name}.{column.name} has the type {column.type}, which no backup can hold")


def _shown(column: SqlColumn[Any]) -> ColumnElement[Any]:
    """JSON as the text that lies there: a JSON null is not an absent value, and numbers keep their spelling."""
    return cast(column, Text) if _kind(column) == "json" else column


def _bound(column: SqlColumn[Any], postgresql: bool) -> ColumnElement[Any]:
    if _kind(column) != "json":
        return bindparam(f"v_{column.name}", type_=column.type)
    value: ColumnElement[Any] = bindparam(f"v_{column.name}", type_=Text())
    return cast(value, JSON) if postgresql else value


def _line(columns: Sequence[Column], row: Sequence[Any]) -> bytes:
    values = [_plain(column.kind, value) for column, value in zip(columns, row, strict=True)]
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _plain(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if kind == "time":
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return aware.isoformat()
    return base64.b64encode(value).decode() if kind == "bytes" else value


_TYPES: dict[Kind, tuple[type[Any], ...]] = {
    "text": (str,),
    "json": (str,),
    "time": (str,),
    "bytes": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
}


def _stored(kind: Kind, value: Any, zone: bool) -> Any:
    """ValueError when it is no value of that kind."""
    if value is None:
        return None
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise ValueError("a value of another kind")
    if kind == "time":
        found = datetime.fromisoformat(value).astimezone(UTC)
        return found if zone else found.replace(tzinfo=None)
    return base64.b64decode(value, validate=True) if kind == "bytes" else value


def _rows(
    part: TablePart, columns: Sequence[SqlColumn[Any]], body: Iterator[bytes], zones: bool
) -> Iterator[dict[str, Any]]:
    places = [
        (f"v_{told.name}", told.kind, zones and bool(getattr(column.type, "timezone", False)))
        for told, column in zip(part.columns, columns, strict=True)
    ]
    for number, line in enumerate(_lines(part, body), start=1):
        try:
            values = json.loads(line)
            if not isinstance(values, list):
                raise ValueError("no list")
            yield {name: _stored(kind, value, zone) for (name, kind, zone), value in zip(places, values, strict=True)}
        except (ValueError, RecursionError):
            raise BackupError(f"{part.name}:{number} is no row of {part.table}: take another backup") from None


def _lines(part: TablePart, body: Iterator[bytes]) -> Iterator[bytes]:
    kept = b""
    for chunk in body:
        *whole, kept = (kept + chunk).split(b"\n")
        yield from whole
        if len(kept) > _LINE_LIMIT:
            raise BackupError(f"{part.name} has a line of more than {_LINE_LIMIT >> 20} MiB: take another backup")
    if kept:
        raise BackupError(f"{part.name} ends in the middle of a line: take another backup")


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    for row in rows:
        some.append(row)
        if len(some) == BATCH:
            yield some
            some = []
    if some:
        yield some


async def _go_on(conn: AsyncConnection, table: Table) -> None:
    """PostgreSQL's sequences do not see ids that were written by hand."""
    for column in table.primary_key.columns:
        query = text("SELECT pg_get_serial_sequence(:table, :column)")
        name = (await conn.execute(query, {"table": f'"{table.name}"', "column": column.name})).scalar_one()
        if name is not None:
            highest = (await conn.execute(select(func.max(column)))).scalar_one()
            await conn.execute(select(func.setval(name, highest or 1, highest is not None)))
