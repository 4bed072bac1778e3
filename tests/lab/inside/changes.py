"""Tells each change of some paths, with the time: ``{"at": seconds, "path": PATH, "state": STATE}`` a line.

A state is None for what is absent, the names (and where links lead) for a folder, for a file a digest of its content
without comments.
The first lines are the states at the beginning; an empty object says that they are complete. The clock is monotonic.

    changes.py SECONDS PATH...
"""

import hashlib
import json
import stat
import sys
import time
from pathlib import Path

PAUSE = 0.03  # the server has one slow processor: looking more often would starve what is looked at


def state(path: Path) -> str | list[str] | None:
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            return sorted(_entry(entry) for entry in path.iterdir())
        substance = b"\n".join(line for line in path.read_bytes().splitlines() if not line.startswith(b"#"))
        return hashlib.sha256(substance).hexdigest()[:12]
    except OSError:
        return None


def _entry(path: Path) -> str:
    """A link is told by where it leads: its own name is whatever its maker chose."""
    return f"-> {path.readlink().name}" if path.is_symlink() else path.name


def tell(path: Path, found: str | list[str] | None) -> None:
    print(json.dumps({"at": time.monotonic(), "path": str(path), "state": found}), flush=True)


def main(seconds: float, paths: list[Path]) -> None:
    deadline = time.monotonic() + seconds
    last = {path: state(path) for path in paths}
    for path in paths:
        tell(path, last[path])
    print("{}", flush=True)
    while time.monotonic() < deadline:
        for path in paths:
            found = state(path)
            if found != last[path]:
                last[path] = found
                tell(path, found)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main(float(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
