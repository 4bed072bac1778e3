"""Which process answers DHCP, and what we know that it has loaded.

dhcpd reads its configuration only at start, and says to nobody what it read. So the digest that was in the file at
the last start that we saw succeed is kept with that process's identity; the record holds for that process alone.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from controller.adapters import files

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One process of one boot of the machine; ``start`` in clock ticks since that boot (proc(5))."""

    pid: int
    start: int
    boot: str

    def age(self) -> float:
        """Seconds since it was started."""
        uptime = float((_PROC / "uptime").read_text().split()[0])
        return uptime - self.start / _TICKS


@dataclass(frozen=True, slots=True)
class Refusal:
    """A host declaration that was left out: its normal form, why, and that of the host that it collides with, or ""."""

    stanza: str
    message: str
    rival: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """``digest`` is what ``process`` has loaded; ``refused`` holds while ``main`` (sha256 of the administrator's
    files) and ``networks`` (sha256 of our file without its hosts) stay as they are."""

    digest: str | None = None
    process: Process | None = None
    main: str = ""
    networks: str = ""
    refused: Mapping[str, Refusal] = field(default_factory=dict)


def find(pidfile: Path) -> Process | None:
    """The living dhcpd that the pidfile names; None for a stale one, and for another program that has its number now."""
    try:
        pid = int(files.read(pidfile, 32))
        if _comm(_PROC / str(pid)) != "dhcpd\n":
            return None
        state, *fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else Process(pid, int(fields[18]), boot)


def read(path: Path) -> Record | None:
    """None if there is none, or none that makes sense: then nothing is known, and the next load makes a new one."""
    try:
        data = json.loads(files.read(path, 64 << 20))
        process = Process(**data["process"]) if data["process"] else None
        refused = {str(name): Refusal(**refusal) for name, refusal in data["refused"].items()}
        return Record(data["digest"], process, data["main"], data["networks"], refused)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def write(path: Path, record: Record) -> None:
    """OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, json.dumps(asdict(record), sort_keys=True).encode(), 0o600)


def port_taken(port: int) -> bool:
    """Whether a program that is no dhcpd listens on this UDP port, as far as can be seen."""
    try:
        rows = (_PROC / "net/udp").read_text().splitlines()[1:]
    except OSError:
        return False
    if not any(int(row.split()[1].rpartition(":")[2], 16) == port for row in rows):
        return False
    return not any(_comm(folder) == "dhcpd\n" for folder in _PROC.glob("[0-9]*"))


def _comm(folder: Path) -> str:
    try:
        return (folder / "comm").read_text()
    except OSError:
        return ""
