"""The store: objects and status apart, change log, dirty set, events, revisions, leases."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _key() -> sa.Text:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _time() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.bulk_insert(counters, [{"name": name, "value": 0} for name in ("resource_version", "dirty", "events")])
    _objects()
    _work()
    _history()


def _objects() -> None:
    op.create_table(
        "objects",
        sa.Column("key", _key(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("resource_version", sa.BigInteger, nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.Column("managed_by", sa.Text, nullable=False),
        sa.Column("deleted_at", _time()),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("annotations", sa.JSON, nullable=False),
        sa.Column("overrides", sa.JSON, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_objects"),
        sa.UniqueConstraint("uid", name="uq_objects_uid"),
    )
    op.create_index("ix_objects_managed_by", "objects", ["managed_by"])
    op.create_index("ix_objects_versions", "objects", ["key", "resource_version"])
    op.create_table(
        "statuses",
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("resource_version", sa.BigInteger, nullable=False),
        sa.Column("status", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("uid", name="pk_statuses"),
        sa.ForeignKeyConstraint(["uid"], ["objects.uid"], ondelete="CASCADE", name="fk_statuses_uid_objects"),
    )
    op.create_table(
        "changes",
        sa.Column("resource_version", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("type", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("resource_version", name="pk_changes"),
    )
    op.create_table(
        "orphans",
        sa.Column("machine", sa.String(63), nullable=False),
        sa.PrimaryKeyConstraint("machine", name="pk_orphans"),
    )


def _work() -> None:
    op.create_table(
        "dirty",
        sa.Column("key", _key(), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("not_before", _time(), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("claimed", sa.BigInteger),
        sa.PrimaryKeyConstraint("key", name="pk_dirty"),
    )
    op.create_table(
        "observations",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_observations"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expires", _time(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )


def _history() -> None:
    op.create_table(
        "events",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("type", sa.String(8), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("first", _time(), nullable=False),
        sa.Column("last", _time(), nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", "type", "reason", name="pk_events"),
    )
    op.create_index("ix_events_seq", "events", ["seq"])
    op.create_table(
        "revisions",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("sha", sa.Text, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("problems", sa.JSON, nullable=False),
        sa.Column("received_at", _time(), nullable=False),
        sa.Column("converged_at", _time()),
        sa.Column("approved", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("source", "sha", "verdict", name="pk_revisions"),
    )
    op.create_index("ix_revisions_received_at", "revisions", ["received_at"])


def downgrade() -> None:
    history, work = ("revisions", "events"), ("leases", "observations", "dirty")
    for table in (*history, *work, "orphans", "changes", "statuses", "objects", "counters"):
        op.drop_table(table)
