"""What was deleted and may be restored, what was overridden by hand, requests that may be repeated."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _key() -> sa.Text:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _time() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("objects", sa.Column("overridden_by", sa.Text))
    op.add_column("objects", sa.Column("deleted_by", sa.Text))
    some = sa.text("overridden_by IS NOT NULL")
    op.create_index("ix_objects_overridden_by", "objects", ["managed_by", "key"], sqlite_where=some, postgresql_where=some)
    op.create_table(
        "tombstones",
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("key", _key(), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.Column("managed_by", sa.Text, nullable=False),
        sa.Column("overridden_by", sa.Text),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("annotations", sa.JSON, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("deleted_at", _time(), nullable=False),
        sa.Column("removed_at", _time(), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("uid", name="pk_tombstones"),
    )
    op.create_index("ix_tombstones_removed_at", "tombstones", ["removed_at", "uid"])
    op.create_index("ix_tombstones_key", "tombstones", ["key"])
    op.create_index("ix_tombstones_overridden_by", "tombstones", ["managed_by"], sqlite_where=some, postgresql_where=some)
    op.create_table(
        "requests",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("claim", sa.String(32), nullable=False),
        sa.Column("at", _time(), nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("etag", sa.Text),
        sa.Column("body", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    op.create_index("ix_requests_at", "requests", ["at"])


def downgrade() -> None:
    op.drop_table("requests")
    op.drop_table("tombstones")
    op.drop_index("ix_objects_overridden_by", "objects")
    with op.batch_alter_table("objects") as objects:
        objects.drop_column("deleted_by")
        objects.drop_column("overridden_by")
