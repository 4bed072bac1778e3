"""Statements that many of the store's parts run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Executable, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters.tables import counters

T = TypeVar("T")

BATCH = 1000  # rows a statement: SQLite takes 32,766 parameters, and the event loop breathes in between


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


async def execute_many(conn: AsyncConnection, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
    for batch in batches(rows):
        await conn.execute(statement, batch)


# Statements that are run again and again are made once: to make one takes longer than to run it.
_OURS = counters.c.name == bindparam("counter")
_LOCK = select(counters.c.value).where(_OURS).with_for_update()
_ADVANCE = update(counters).where(_OURS).values(value=bindparam("to"))
_NEXT = update(counters).where(_OURS).values(value=counters.c.value + 1).returning(counters.c.value)


async def lock(conn: AsyncConnection, counter: str) -> int:
    """The counter's value; on PostgreSQL nobody else gets at it until this transaction ends."""
    return int((await conn.execute(_LOCK, {"counter": counter})).scalar_one())


async def advance(conn: AsyncConnection, counter: str, value: int) -> None:
    await conn.execute(_ADVANCE, {"counter": counter, "to": value})


async def following(conn: AsyncConnection, counter: str) -> int:
    """The counter's next value, as of ``lock``."""
    return int((await conn.execute(_NEXT, {"counter": counter})).scalar_one())


def among(column: Column[Any]) -> ColumnElement[bool]:
    """That it is one of ``keys``."""
    return column.in_(bindparam("keys", expanding=True))
