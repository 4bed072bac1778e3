"""Identity: users, API keys, refresh tokens in families, failed logins, revocations."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _key() -> sa.Text:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _time() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("INSERT INTO counters (name, value) VALUES ('accounts', 0)")
    op.create_table(
        "users",
        sa.Column("name", _key(), nullable=False),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("password", sa.Text, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.Column("last_login", _time()),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
        sa.UniqueConstraint("uid", name="uq_users_uid"),
    )
    _keys()
    _logins()
    _failures()


def _keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(36)),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.Column("expires_at", _time()),
        sa.Column("last_used", _time()),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["owner"], ["users.uid"], ondelete="CASCADE", name="fk_api_keys_owner_users"),
    )
    op.create_index("ix_api_keys_owner", "api_keys", ["owner"])


def _logins() -> None:
    op.create_table(
        "login_families",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("owner", sa.String(36), nullable=False),
        sa.Column("expires_at", _time(), nullable=False),
        sa.Column("closed", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_login_families"),
        sa.ForeignKeyConstraint(["owner"], ["users.uid"], ondelete="CASCADE", name="fk_login_families_owner_users"),
    )
    op.create_index("ix_login_families_owner", "login_families", ["owner"])
    op.create_index("ix_login_families_expires_at", "login_families", ["expires_at"])
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("family", sa.String(36), nullable=False),
        sa.Column("expires_at", _time(), nullable=False),
        sa.Column("used", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_refresh_tokens"),
        sa.ForeignKeyConstraint(
            ["family"], ["login_families.id"], ondelete="CASCADE", name="fk_refresh_tokens_family_login_families"
        ),
    )
    op.create_index("ix_refresh_tokens_family", "refresh_tokens", ["family"])
    op.create_index("ix_refresh_tokens_expires_at", "refresh_tokens", ["expires_at"])


def _failures() -> None:
    op.create_table(
        "login_failures",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("last", _time(), nullable=False),
        sa.Column("locked_until", _time()),
        sa.PrimaryKeyConstraint("subject", name="pk_login_failures"),
    )
    op.create_index("ix_login_failures_last", "login_failures", ["last"])
    op.create_table(
        "revoked",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("until", _time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revoked"),
    )
    op.create_index("ix_revoked_until", "revoked", ["until"])


def downgrade() -> None:
    for table in ("revoked", "login_failures", "refresh_tokens", "login_families", "api_keys", "users"):
        op.drop_table(table)
    op.execute("DELETE FROM counters WHERE name = 'accounts'")
