"""Names of users: lower case, so that nobody can be mistaken for another by a capital letter."""

import re

PATTERN = r"^[a-z0-9]([a-z0-9._@-]{0,61}[a-z0-9])?$"
_possible = re.compile(r"[a-z0-9]([a-z0-9._@-]{0,61}[a-z0-9])?", re.ASCII).fullmatch


def possible(name: str) -> bool:
    return _possible(name) is not None


def shown(name: str) -> str:
    """For a log: what can be no name may be anything, a password too."""
    return name if possible(name) else "(no name)"
