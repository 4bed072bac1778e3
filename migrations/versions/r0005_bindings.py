"""Bindings: what a user may do with what a label selector selects."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bindings",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("user_name", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("verbs", sa.JSON, nullable=False),
        sa.Column("selector", sa.Text, nullable=False),
        sa.Column("narrows", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bindings"),
        sa.ForeignKeyConstraint(["user_name"], ["users.name"], ondelete="CASCADE", name="fk_bindings_user_name_users"),
    )
    op.create_index("ix_bindings_user_name", "bindings", ["user_name"])


def downgrade() -> None:
    op.drop_table("bindings")
