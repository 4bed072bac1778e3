"""Lines on their way out, written by a thread: whoever reads the log slowly, or not at all, stops nothing but the log.

Lines are gathered for a moment: to wake the thread for each would cost the process that logs a request more than the
request. What nobody takes is dropped beyond a bound, and how much that was is said when somebody takes lines again.
"""

import json
import threading
from collections import deque
from typing import TextIO

_MOST = 10_000
_GATHERED_SECONDS = 0.02


class LogWriter:
    """As much of a text file as a log needs."""

    def __init__(self, out: TextIO, most: int = _MOST) -> None:
        self._out, self._most = out, most
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._woken, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        if len(self._lines) < self._most:
            self._lines.append(text)
            if not self._woken.is_set():
                self._woken.set()
        else:
            self._dropped += 1
        return len(text)

    def flush(self) -> None:
        """Every line is flushed anyway, in a moment."""

    def close(self, seconds: float = 1.0) -> None:
        """What is left has so long to be taken."""
        self._ended.set()
        self._woken.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._ended.is_set() or self._lines:
            self._woken.wait()
            self._ended.wait(_GATHERED_SECONDS)
            self._woken.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if self._dropped:
                told = {"event": "log lines dropped: nobody took them", "level": "warning", "count": self._dropped}
                lines.append(json.dumps(told) + "\n")
                self._dropped = 0
            try:
                self._out.write("".join(lines))
                self._out.flush()
            except (OSError, ValueError):
                self._most = 0  # whoever read it has gone for good
                return
