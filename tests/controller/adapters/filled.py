"""Rows for every table there is, made from the columns alone, so that a new table is tested the day it is defined."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    cast,
    insert,
    select,
)
from sqlalchemy.types import TypeDecorator

from controller.adapters.database import Database
from controller.adapters.every_table import metadata

ROWS = 5
_JSON: tuple[Any, ...] = ({"b": 1.10, "a": [12345678901234567890, None, "\0"]}, [], "ü", 0, None)
_CHOICE = re.compile(r"(\w+) IN \(([^)]*)\)")


async def fill(database: Database) -> None:
    """A few rows into each empty table; counters are set."""
    async with database.write() as conn:
        made: dict[str, list[dict[str, Any]]] = {}
        for table in metadata.sorted_tables:
            if table.name == "counters":
                await conn.execute(table.update().values(value=7_000_000_000))
                continue
            made[table.name] = [row(table, number, made) for number in range(ROWS)]
            await conn.execute(insert(table), made[table.name])


def row(table: Table, number: int, made: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {column.name: _value(table, column, number, made) for column in table.columns}


def _value(table: Table, column: Column[Any], number: int, made: Mapping[str, list[dict[str, Any]]]) -> Any:
    for key in column.foreign_keys:
        parents = made.get(key.column.table.name)
        return parents[number][key.column.name] if parents else None  # None: of itself
    if column.nullable and number % 3 == 2:
        return None
    choices = _choices(table, column)
    return choices[number % len(choices)] if choices else _plain(column, number)


def _plain(column: Column[Any], number: int) -> Any:
    kind = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    match kind:
        case JSON():
            return _JSON[number % len(_JSON)]
        case Boolean():
            return number % 2 == 0
        case DateTime():
            return datetime(2026, 1, 5, 12, 0, number, 123456, UTC) + timedelta(days=number)
        case LargeBinary():
            return bytes([0, number, 255])
        case Integer():
            return number + (1 if column.primary_key else 1 << 30)
        case Float():
            return 0.1 + number
        case String():
            return f"{number}-{column.table.name}-{column.name} 'ü\"\\\n"[: kind.length or 200]
    raise AssertionError(f"no value for {column.table.name}.{column.name} of type {column.type}")


def _choices(table: Table, column: Column[Any]) -> list[str]:
    rules = [str(rule.sqltext) for rule in table.constraints if isinstance(rule, CheckConstraint)]
    found = [match for rule in rules for match in _CHOICE.finditer(rule) if match[1] == column.name]
    return re.findall(r"'([^']*)'", found[0][2]) if found else []


async def rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that lies in the database, by table; JSON as the text that lies there."""
    database, found = Database(url), {}
    async with database.read() as conn:
        for table in metadata.sorted_tables:
            shown = [cast(column, Text) if isinstance(column.type, JSON) else column for column in table.columns]
            query = select(*shown).order_by(*table.primary_key.columns)
            found[table.name] = [tuple(one) for one in await conn.execute(query)]
    await database.close()
    return found
