"""What was deleted and may be restored, and requests that may be sent twice."""

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, String, Table, Text

from controller.adapters.tables import Utc, Words, key_text, metadata

# What was deleted, for as long as it may be restored. ``overridden_by`` stands until the source has put it back.
tombstones = Table(
    "tombstones",
    metadata,
    Column("uid", String(36), primary_key=True),
    Column("key", key_text(), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("managed_by", Text, nullable=False),
    Column("overridden_by", Text),
    Column("labels", JSON, nullable=False),
    Column("annotations", JSON, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("deleted_at", Utc, nullable=False),
    Column("removed_at", Utc, nullable=False),
    Column("who", Text, nullable=False),
    Index("ix_tombstones_removed_at", "removed_at", "uid"),
    Index("ix_tombstones_key", "key"),
)
Index(
    "ix_tombstones_overridden_by",
    tombstones.c.managed_by,
    sqlite_where=tombstones.c.overridden_by.is_not(None),
    postgresql_where=tombstones.c.overridden_by.is_not(None),
)

# Requests with an Idempotency-Key. ``status`` is null while the first is under way, in the hands of ``claim``.
requests = Table(
    "requests",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("principal", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("claim", String(32), nullable=False),
    Column("at", Utc, nullable=False, index=True),
    Column("status", Integer),
    Column("etag", Text),
    Column("body", Words),
)
