"""The table of uploads. Their bytes, and so how far they have come, are in the upload folder.

``folder`` is the mark of that folder: a process judges only what lies in its own. ``acknowledged`` is set where the end of
the file may not be counted, because nobody has checked it yet. ``expires_at`` is null once all bytes are there.
"""

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from controller.adapters.tables import Utc, metadata

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("folder", String(32), nullable=False),
    Column("owner", String(36), nullable=False),
    Column("described", Text, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("acknowledged", BigInteger),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc),
    Index("ix_uploads_owner", "owner", "created_at", "id"),
)
