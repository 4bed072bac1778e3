"""What the program may reach in the file system: itself, its libraries and the files that it was given (landlock(7))."""

import ctypes
import os
import struct
from collections.abc import Iterable, Mapping

from controller.adapters.confined import kernel

_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE = 1, 2, 4, 8, 1 << 14  # LANDLOCK_ACCESS_FS_*, linux/landlock.h
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}  # handled, by version
_NET, _SCOPES = 3, 3  # bind and connect of TCP (from 4); abstract sockets and signals (from 6)


def version() -> int:
    """Of the kernel's Landlock; 0 where it has none."""
    try:
        return kernel.call("landlock_create_ruleset", 0, 0, 1)  # LANDLOCK_CREATE_RULESET_VERSION
    except OSError:
        return 0


def restrict(programs: Iterable[str], files: Mapping[int, bool]) -> None:
    """No way back. ``programs`` may be read and run; ``files``: descriptor -> may be written. OSError."""
    known = version()
    handled = _RIGHTS[min(known, max(_RIGHTS))]
    words = (handled, _NET if known >= 4 else 0, _SCOPES if known >= 6 else 0)
    size = 24 if known >= 6 else 16 if known >= 4 else 8
    rules = kernel.call("landlock_create_ruleset", ctypes.create_string_buffer(struct.pack("=QQQ", *words)), size, 0)
    for path in programs:
        if os.path.exists(path):  # noqa: PTH110
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            _permit(rules, fd, _EXECUTE | _READ | (_LIST if os.path.isdir(path) else 0))  # noqa: PTH112
            os.close(fd)
    for fd, writable in files.items():
        _permit(rules, fd, (_READ | _WRITE | _TRUNCATE if writable else _READ) & handled)
    kernel.call("landlock_restrict_self", rules, 0)
    os.close(rules)


def _permit(rules: int, fd: int, rights: int) -> None:
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, fd))
    kernel.call("landlock_add_rule", rules, 1, rule, 0)  # LANDLOCK_RULE_PATH_BENEATH
