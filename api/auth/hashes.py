"""Passwords as bcrypt hashes. It takes a quarter of a second by intent, so it runs in threads, a bounded number at a time.

An unknown user costs the same as a wrong password: there is always a hash to compare with.
"""

import os

import anyio
import bcrypt

from api.auth.policy import LONGEST

ROUNDS = 12
"""2^12: a quarter of a second on a core of today (OWASP asks for 10 at least)."""


class Hashes:
    def __init__(self, rounds: int = ROUNDS) -> None:
        self._rounds = rounds
        self._nobody = f"$2b${rounds:02}${'.' * 53}"  # a hash in form, which no known password has
        self.limiter = anyio.CapacityLimiter(max(1, (os.cpu_count() or 2) - 1) + 1)

    async def make(self, password: str) -> str:
        """ValueError for more than 72 bytes: the policy refuses these before."""
        async with self.limiter:
            hashed = await anyio.to_thread.run_sync(bcrypt.hashpw, password.encode(), bcrypt.gensalt(self._rounds))
        return hashed.decode()

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Whoever calls holds a place of ``limiter``. With None, or a password that cannot be one, False as slowly."""
        given = password.encode("utf-8", "surrogatepass")
        possible = hashed is not None and len(given) <= LONGEST
        compared = (hashed if possible and hashed else self._nobody).encode()
        equal = await anyio.to_thread.run_sync(bcrypt.checkpw, given[:LONGEST], compared)
        return equal and possible
