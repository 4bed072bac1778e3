"""Names of users: lower case, so that nobody can be mistaken for another by a capital letter."""

import re

PATTERN = r"^[a-z0-9]([a-z0-9._@-]{0,61}[a-z0-9])?$"
_possible = re.compile(r"[a-z0-9]([a-z0-9._@-]{0,61}[a-z0-9])?", re.ASCII).fullmatch

RESERVED = frozenset({"admin", "erased", "unknown"})
"""What the log calls the local administrator, people who were erased, those who gave no name: nobody else is called so."""


def possible(name: str) -> bool:
    return _possible(name) is not None


def shown(name: str) -> str:
    """For a log: what can be no name may be anything, a password too."""
    return name if possible(name) else "(no name)"
