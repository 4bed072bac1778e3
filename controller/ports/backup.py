"""What a backup holds, and what is said when one cannot be made, read or restored."""

from dataclasses import dataclass
from datetime import datetime


class BackupError(Exception):
    """A backup cannot be made, read or restored, and nothing was changed. One line, with the remedy."""


@dataclass(frozen=True, slots=True)
class Contents:
    """``tables``: rows by table. ``files``: what it has of the state folder. ``revision``: of the schema."""

    version: str
    revision: str
    made_at: datetime
    tables: dict[str, int]
    files: tuple[str, ...]
