"""The database schema, the same on SQLite and PostgreSQL: Core tables, no ORM (it is three times slower here).

Keys (``Kind/name``) sort byte by byte in both databases, hence the collation. Objects and their status lie in different
tables, so that a status write cannot touch a spec. JSON columns are text to the database: PostgreSQL's jsonb refuses a
NUL that a message may well carry.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Utc(TypeDecorator[datetime]):
    """An aware time, kept in UTC; SQLite has no zones, so there it is written without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Text from outside (a tool's message, a commit's author): what no database can hold is escaped."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def key_text() -> Text:
    return Text().with_variant(Text(collation="C"), "postgresql")


# One row a counter. Its row lock orders writers, so that numbers are given out in the order of commits.
counters = Table(
    "counters",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
RESOURCE_VERSION = "resource_version"
DIRTY = "dirty"
EVENTS = "events"

# ``overrides`` are annotations set by hand over the declared ones (value, or null for removed): see ``annotate``.
# ``overridden_by`` is who changed or deleted by force what a source manages; ``deleted_by`` who asked for the deletion.
objects = Table(
    "objects",
    metadata,
    Column("key", key_text(), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("name", String(63), nullable=False),
    Column("uid", String(36), nullable=False, unique=True),
    Column("generation", BigInteger, nullable=False),
    Column("resource_version", BigInteger, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("managed_by", Text, nullable=False, index=True),
    Column("deleted_at", Utc),
    Column("labels", JSON, nullable=False),
    Column("annotations", JSON, nullable=False),
    Column("overrides", JSON, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("overridden_by", Text),
    Column("deleted_by", Text),
    Index("ix_objects_versions", "key", "resource_version"),  # a quiet sweep reads this and no spec
)
# Asked every few seconds, and nearly always empty: hence only the rows that count.
Index(
    "ix_objects_overridden_by",
    objects.c.managed_by,
    objects.c.key,
    sqlite_where=objects.c.overridden_by.is_not(None),
    postgresql_where=objects.c.overridden_by.is_not(None),
)

statuses = Table(
    "statuses",
    metadata,
    Column("uid", String(36), ForeignKey("objects.uid", ondelete="CASCADE"), primary_key=True),
    Column("resource_version", BigInteger, nullable=False),
    Column("status", JSON, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("resource_version", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("type", String(8), nullable=False),
)

orphans = Table("orphans", metadata, Column("machine", String(63), primary_key=True))

# ``claimed`` is the ``seq`` that the key was handed out with; ``seq`` above it means marked again since.
dirty = Table(
    "dirty",
    metadata,
    Column("key", key_text(), primary_key=True),
    Column("priority", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("not_before", Utc, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("claimed", BigInteger),
)

observations = Table(
    "observations",
    metadata,
    Column("key", Text, primary_key=True),
    Column("text", Text, nullable=False),
    Column("digest", String(64), nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("key", Text, primary_key=True),
    Column("type", String(8), primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False, index=True),
    Column("message", Words, nullable=False),
    Column("first", Utc, nullable=False),
    Column("last", Utc, nullable=False),
    Column("count", BigInteger, nullable=False),
)

revisions = Table(
    "revisions",
    metadata,
    Column("source", Text, primary_key=True),
    Column("sha", Text, primary_key=True),
    Column("verdict", String(16), primary_key=True),
    Column("author", Words, nullable=False),
    Column("message", Words, nullable=False),
    Column("problems", JSON, nullable=False),
    Column("received_at", Utc, nullable=False, index=True),
    Column("converged_at", Utc),
    Column("approved", Boolean, nullable=False),
)

# A released lease keeps its row without a holder, because epochs never go back.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text),
    Column("epoch", BigInteger, nullable=False),
    Column("expires", Utc, nullable=False),
)

# The audit log. Triggers (revision 0005) refuse what changes a row, and what removes one that no checkpoint covers.
# ``before`` and ``after`` are canonical JSON as text, because the hash is over just these characters.
audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", Utc, nullable=False),
    Column("actor", String(64), nullable=False, index=True),
    Column("request_id", Text, nullable=False),
    Column("action", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("object", Text, index=True),
    Column("subject", String(64)),
    Column("times", BigInteger, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

# Where the chain ends (the newest row) and where it begins (the last row that was pruned). The head's row lock orders
# those who append.
audit_marks = Table(
    "audit_marks",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)
HEAD = "head"
CHECKPOINT = "checkpoint"

# Who stands behind an ``actor`` or ``subject``: ``id`` is the keyed digest of name and address, ``salt`` its key. Without
# the row nobody can tell any more who it was, and the chain, which holds the digest, stays whole.
actors = Table(
    "actors",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("salt", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    UniqueConstraint("name", "address", name="uq_actors_name_address"),
)

# What happens is told to these. The secrets must sign, so they stand here as they are: no answer and no log has them.
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("url", Text),
    Column("mail", Text),
    Column("events", JSON, nullable=False),
    Column("kinds", JSON, nullable=False),
    Column("label_selector", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("created_by", Words, nullable=False),
    Column("previous_secret", Text),
    Column("previous_until", Utc),
    Column("failing_since", Utc),
    Column("disabled_reason", Words),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("id", String(36), nullable=False, unique=True),
    Column("webhook", String(36), ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("event", String(32), nullable=False),
    Column("subject", Words, nullable=False),
    Column("body", Text),
    Column("created_at", Utc, nullable=False),
    Column("not_before", Utc, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("ended_at", Utc),
    Column("status", Integer),
    Column("error", Words),
    Index("ix_deliveries_order", "webhook", "state", "subject", "seq"),
    Index("ix_deliveries_due", "state", "not_before"),
)
DELIVERIES = "deliveries"

# How far the logs were followed for webhooks, and what was told last of each object; empty without a webhook.
webhook_cursor = Table(
    "webhook_cursor",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

webhook_facts = Table(
    "webhook_facts",
    metadata,
    Column("key", Text, primary_key=True),
    Column("uid", String(36), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("phase", Text, nullable=False),
    Column("labels", JSON, nullable=False),
)
