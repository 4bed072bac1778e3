"""How long to leave a thing alone that has just failed: longer each time, and not all things at the same moment."""

import hashlib

FIRST = 1.0
LONGEST = 900.0
JITTER = 0.2
WRONG, WRONG_LONGEST = 3600.0, 86400.0


def delay(attempts: int, key: str) -> float:
    """Seconds to wait after ``attempts`` failures: 1 s doubled each time, 15 min at most.

    Up to a fifth less, as ``key`` and the attempt decide: the same every time, and spread over many keys.
    """
    base = min(FIRST * 2.0 ** min(max(attempts - 1, 0), 32), LONGEST)
    spread = int.from_bytes(hashlib.sha256(f"{key} {attempts}".encode()).digest()[:4], "big") / 2**32
    return base * (1 - JITTER * spread)


def wrong(times: int) -> float:
    """Seconds until a file is asked for again that was another one so many times: an hour doubled each time, a day at
    most."""
    return min(WRONG * 2.0 ** min(max(times - 1, 0), 8), WRONG_LONGEST)
