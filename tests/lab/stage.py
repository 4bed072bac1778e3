"""What a person sees of a lab at work: stages with their time, commands with their output, a console in a frame."""

import sys
import time


class Stage:
    """Colours only on a terminal; lines, never a redrawn screen, so that a log reads the same."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty()
        self._start = time.monotonic()

    def begin(self, text: str) -> None:
        print(f"{self._paint('2', f'{time.monotonic() - self._start:5.1f} s')}  {self._paint('1', text)}", flush=True)

    def command(self, text: str) -> None:
        print(f"\n{self._paint('36', '$ ' + text)}", flush=True)

    def text(self, text: str) -> None:
        print(text.rstrip("\n"), flush=True)

    def console(self, line: str) -> None:
        """A line of a PC's console; empty ones, and runs of blanks that place text on a screen, are left out."""
        if line.strip():
            print(f"{self._paint('33', '  |')} {' '.join(line.split())}", flush=True)

    def good(self, text: str) -> None:
        print(f"\n{self._paint('32', text)}", flush=True)

    def bad(self, text: str) -> None:
        print(f"\n{self._paint('31', text)}", file=sys.stderr, flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text
