"""How much a private disk may hold and how much it holds: for snapshots, which have a store of a fixed size.

A snapshot keeps each chunk that its PC has written in a store: one chunk with a header, then areas of one chunk that
says where ``_PER_AREA`` chunks came from and those chunks behind it (kernel: dm-snap-persistent.c). The next area's first
chunk is written as soon as one is full, so there is always room for it.
"""

CHUNK = 16 << 10  # measured: smaller reads and writes more slowly in a row, larger takes more space for the same writes
NEARLY_FULL = 80  # per cent
_PER_AREA = CHUNK // 16


def store_size(limit: int) -> int:
    """Bytes of a store that holds so many written bytes."""
    chunks = -(-limit // CHUNK)
    return (2 + chunks + chunks // _PER_AREA) * CHUNK


def store_limit(size: int) -> int:
    """Bytes that a store of this size holds."""
    room = max(0, size // CHUNK - 2)
    return (room - room // (_PER_AREA + 1)) * CHUNK


def whole(used: int, most: int) -> int:
    """``used`` in whole hundredths of ``most``: what moves less is not worth telling."""
    step = max(1, most // 100)
    return used // step * step


def nearly(used: int, most: int) -> bool:
    return used * 100 >= most * NEARLY_FULL
