"""The table of bindings. They go with the account, or the next one of that name would have them.

``user_name``, because ``user`` is a word of SQL.
"""

from sqlalchemy import JSON, Boolean, Column, ForeignKey, String, Table, Text

from controller.adapters.tables import Utc, key_text, metadata
from controller.adapters.tables_identity import users

bindings = Table(
    "bindings",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_name", key_text(), ForeignKey(users.c.name, ondelete="CASCADE"), nullable=False, index=True),
    Column("verbs", JSON, nullable=False),
    Column("selector", Text, nullable=False),
    Column("narrows", Boolean, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("created_by", Text, nullable=False),
)
