"""How people name the disks of a session: ``os``, ``games``."""

import re
from typing import Self

from manifests.types import _Text, shown

SYSTEM_DISK = "os"
"""The one disk of a session that only names an image."""
MOST = 16


class DiskName(_Text):
    """1 to 11 of ``a-z 0-9``: with its machine's name and its session's uid it must fit the kernel's 127 characters."""

    __slots__ = ()
    pattern = "^[a-z0-9]{1,11}$"
    example = "games"
    _match = re.compile("[a-z0-9]{1,11}", re.ASCII).fullmatch

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not cls._match(text):
            raise ValueError(f"{shown(text)} is not a disk's name: 1 to 11 of a-z and 0-9, like os or games")
        return str.__new__(cls, text)
