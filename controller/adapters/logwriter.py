"""Lines on their way out, written by a thread: whoever reads the log slowly, or not at all, stops nothing but the log.

What nobody takes is dropped beyond a bound, and how much that was is said when somebody takes lines again.
"""

import json
import threading
from collections import deque
from typing import TextIO

_MOST = 10_000


class LogWriter:
    """As much of a text file as a log needs."""

    def __init__(self, out: TextIO, most: int = _MOST) -> None:
        self._out, self._most = out, most
        self._lines: deque[str] = deque()
        self._dropped, self._ended = 0, False
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        if len(self._lines) < self._most:
            self._lines.append(text)
            self._woken.set()
        else:
            self._dropped += 1
        return len(text)

    def flush(self) -> None:
        """Every line is flushed anyway, in a moment."""

    def close(self, seconds: float = 1.0) -> None:
        """What is left has so long to be taken."""
        self._ended = True
        self._woken.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._ended or self._lines:
            self._woken.wait()
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
