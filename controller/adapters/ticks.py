"""When a file's stamp proves that the file is as it was.

File systems stamp by a clock that ticks some hundred times a second, so of two changes within one tick the second leaves
the stamp of the first (git's "racy" files). A stamp older than the tick in which one looked will not be given again;
where a file system keeps no parts of a second (ext4 with inodes of 128 bytes), one that is two seconds older.
"""

import os
import time

_COARSE = 5  # CLOCK_REALTIME_COARSE (linux/time.h), from which the kernel takes the stamps
_SECOND = 1_000_000_000
Stamp = tuple[int, ...]


def now() -> int:
    """The tick, in nanoseconds since 1970: asked before one looks."""
    return time.clock_gettime_ns(_COARSE)


def stamp(there: os.stat_result, tick: int) -> Stamp | None:
    """Of what was looked at in ``tick``, or later; None where it proves nothing."""
    return _stamp(there) if _over(there.st_mtime_ns, tick) and _over(there.st_ctime_ns, tick) else None


def same(there: os.stat_result, known: Stamp | None) -> bool:
    """Whether it is as it was when it had this stamp, which proved something then."""
    return known is not None and known == _stamp(there)


def _stamp(there: os.stat_result) -> Stamp:
    return (there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns)


def _over(at: int, tick: int) -> bool:
    return at + (2 * _SECOND if at % _SECOND == 0 else 0) < tick
