"""The tables of identity: people, their logins and keys, failures, revocations. Secrets are kept as digests alone."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, String, Table, Text

from controller.adapters.tables import Utc, Words, key_text, metadata

ACCOUNTS = "accounts"
"""The counter that rises with every change of who may come in."""

users = Table(
    "users",
    metadata,
    Column("name", key_text(), primary_key=True),
    Column("uid", String(36), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("last_login", Utc),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(36), ForeignKey("users.uid", ondelete="CASCADE"), index=True),
    Column("name", Words, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc),
    Column("last_used", Utc),
)

login_families = Table(
    "login_families",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(36), ForeignKey("users.uid", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_at", Utc, nullable=False, index=True),
    Column("closed", Boolean, nullable=False),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("family", String(36), ForeignKey("login_families.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_at", Utc, nullable=False, index=True),
    Column("used", Boolean, nullable=False),
)

login_failures = Table(
    "login_failures",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("failures", BigInteger, nullable=False),
    Column("last", Utc, nullable=False, index=True),
    Column("locked_until", Utc),
)

revoked = Table(
    "revoked",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("until", Utc, nullable=False, index=True),
)
