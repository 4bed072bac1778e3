"""Backup and restore of what must outlive this machine: the database, and the state folder's keys.

A backup is read in one transaction's snapshot, beside a daemon that goes on working. A restore looks at the whole
archive before it touches anything, and is one transaction too: the archive's own schema is made, filled, and brought up
to the newest; when anything is amiss, what was there before is there still.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from alembic import command
from sqlalchemy import Connection, Table, exc, func, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.adapters import backup_files, backup_tables, migrate, schema
from controller.adapters.backup_archive import FORMAT, Manifest, Reader, TablePart, write
from controller.adapters.database import Database
from controller.adapters.every_table import metadata
from controller.adapters.tables import audit_marks, counters, leases
from controller.ports.backup import BackupError, Contents
from migrations import NEWEST

# What has rows from the start, and by which column one sees that they were used.
_BEGINNINGS = {counters: counters.c.value, audit_marks: audit_marks.c.seq}


async def create(
    url: str, state_dir: Path | None, version: str, now: datetime, stream: IO[bytes], scratch: Path
) -> Contents:
    """Writes the whole backup; without ``state_dir`` no keys. ``scratch`` is an empty private folder.

    BackupError, StoreError.
    """
    database = Database(url)
    if database.file and not database.file.exists():
        raise BackupError(f"there is no database {database.file} to back up: see GGNET_DATABASE_URL and GGNET_STATE_DIR")
    try:
        await database.prepare()
        async with database.read() as conn:
            revision = await schema.revision(conn)
            if revision != NEWEST:
                raise BackupError(
                    f"the schema of {database.shown} is at revision {revision or 'none'}, not {NEWEST}: back it up with the "
                    "version of ggnet that it belongs to, or run 'ggnet migrate' first"
                )
            tables = [
                await backup_tables.dump(conn, table, scratch)
                for table in await backup_tables.described(conn, metadata.tables)
            ]
    finally:
        await database.close()
    kept = backup_files.secrets(state_dir, scratch) if state_dir else []
    manifest = Manifest(
        format=FORMAT,
        version=version,
        revision=NEWEST,
        made_at=now.astimezone(UTC),
        tables=tuple(tables),
        files=tuple(part for part, _ in kept),
    )
    write(stream, manifest, [*(scratch / f"{part.table}.jsonl" for part in tables), *(path for _, path in kept)])
    return manifest.contents


def check(stream: IO[bytes]) -> Contents:
    """Reads all of an archive against its manifest. BackupError."""
    reader = Reader(stream)
    for _ in reader.parts():
        pass
    return reader.manifest.contents


async def restore(url: str, stream: IO[bytes], state_dir: Path | None, now: datetime, *, replace: bool) -> Contents:
    """``stream`` can be rewound. Without ``state_dir`` the keys stay what they are. BackupError, StoreError."""
    contents = check(stream)
    stream.seek(0)
    database = Database(url)
    made = database.file if database.file and not database.file.exists() else None
    if database.file and made is None:
        _unused(database.file)
    try:
        await database.prepare()
        async with database.write() as conn:
            await conn.run_sync(migrate.alone)
            await _demand(conn, database, now, replace=replace)
            reader = Reader(stream)
            ours = await conn.run_sync(_fresh, database.shown, reader.manifest.revision)
            secrets = await _fill(conn, reader, ours)
            await conn.run_sync(migrate.move, database.shown, lambda config: command.upgrade(config, "head"))
            if state_dir:
                backup_files.place(state_dir, secrets, replace=replace)
    finally:
        await database.close()
        if made and made.exists():
            backup_files.own(made, made.parent.stat())
    return contents


def _unused(file: Path) -> None:
    """BackupError while another process has the database open.

    In WAL mode every open connection holds a shared lock on the file, which the change to another mode cannot have.
    """
    try:
        with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as conn:
            conn.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        advice = "another process uses it: stop the daemon first" if "locked" in str(error) else str(error)
        raise BackupError(f"{file} cannot be restored into: {advice}") from None
    except sqlite3.DatabaseError:
        raise BackupError(f"{file} is damaged: move it away (with its -wal and -shm), then restore") from None


async def _demand(conn: AsyncConnection, database: Database, now: datetime, *, replace: bool) -> None:
    """BackupError while daemons work on it, or when it holds something and that was not given up."""
    present = set(await conn.run_sync(lambda sync: inspect(sync).get_table_names()))
    if leases.name in present:
        query = select(leases.c.name, leases.c.holder).where(leases.c.holder.is_not(None), leases.c.expires > now)
        held = (await conn.execute(query)).first()
        if held is not None:
            raise BackupError(
                f"{held.name} is held by {held.holder}: stop the controller (one that died lets go within 30 s)"
            )
    if not database.file:
        ours = "datname = current_database() AND application_name = 'ggnet' AND pid <> pg_backend_pid()"
        others = (await conn.execute(text(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}"))).scalar_one()  # noqa: S608
        if others:
            raise BackupError(f"{others} connections of ggnet to {database.shown} are open: stop the API and the controller")
    if not replace:
        await _demand_empty(conn, database, present)


async def _demand_empty(conn: AsyncConnection, database: Database, present: set[str]) -> None:
    """A schema without rows, its counters at the beginning, is empty."""
    for name, table in metadata.tables.items():
        if name not in present:
            continue
        query = select(func.count()).select_from(table)
        if table in _BEGINNINGS:
            query = query.where(_BEGINNINGS[table] > 0)
        rows = (await conn.execute(query)).scalar_one()
        if rows:
            raise BackupError(
                f"{database.shown} is not empty ({name} has {rows} rows): restore into an empty database, or give up "
                "what it holds with --replace"
            )


def _fresh(connection: Connection, shown: str, revision: str) -> set[str]:
    """The schema of that revision without a row, and the names of its tables; what was there is gone.

    BackupError, StoreError.
    """
    if revision not in migrate.revisions():
        raise BackupError(
            f"the backup's schema is at revision {revision}, which this version does not know: restore it with the "
            "version of ggnet that made it, or a newer one"
        )
    migrate.move(connection, shown, lambda config: command.downgrade(config, "base"))
    others = set(inspect(connection).get_table_names())
    migrate.move(connection, shown, lambda config: command.upgrade(config, revision))
    return set(inspect(connection).get_table_names()) - others - {"alembic_version"}


async def _fill(conn: AsyncConnection, reader: Reader, ours: set[str]) -> Mapping[str, bytes]:
    """Every part to its place; the files of the state folder by name, still in memory. BackupError."""
    differing = sorted(ours ^ {part.table for part in reader.manifest.tables})
    if differing:
        raise BackupError(f"the backup does not fit its schema: see the table {differing[0]}; take another backup")
    tables = {table.name: table for table in await backup_tables.described(conn, ours)}
    secrets = {}
    for part, body in reader.parts():
        if isinstance(part, TablePart):
            await _refill(conn, tables[part.table], part, body)
        else:
            secrets[part.name.removeprefix("state/")] = b"".join(body)
    return secrets


async def _refill(conn: AsyncConnection, table: Table, part: TablePart, body: Iterator[bytes]) -> None:
    """In place of the rows that the schema itself begins with. BackupError, which repeats no value."""
    try:
        await conn.execute(table.delete())
        await backup_tables.load(conn, table, part, body)
    except exc.OperationalError:
        raise
    except (exc.DBAPIError, OverflowError) as error:
        if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
            raise
        raise BackupError(f"{part.name} holds rows that the table {table.name} does not take: take another backup") from None
