"""How much of one request is taken, and for how long."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """``body`` and ``drain`` in bytes, the rest in seconds.

    16 MiB are some 60,000 manifests. ``stall`` is the longest wait for the next byte of a body, ``upload`` for all of it
    (None: as long as it goes on coming); ``answer`` is what a route gets after that (a plan over 100,000 machines takes
    two), ``download`` what a client gets to take an answer that comes in parts. Of a body that was refused ``drain`` is
    still read, for at most ``linger``: a client that sends before it listens must hear why.
    """

    body: int = 16 << 20
    drain: int = 64 << 20
    linger: float = 2.0
    stall: float = 10.0
    upload: float | None = 60.0
    answer: float = 30.0
    download: float = 300.0
