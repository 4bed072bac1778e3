"""Who listens on which port, as the kernel lists it (proc(5): /proc/net/udp, /proc/net/tcp, /proc/net/packet)."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

KERNEL = "the kernel"
_LISTENING = "0A"


def holders(port: int, protocol: Literal["udp", "tcp"]) -> frozenset[str]:
    """The programs that hold this port, by name; the kernel itself holds an iSCSI portal."""
    wanted, inodes = f":{port:04X}", set()
    with suppress(FileNotFoundError):
        for row in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            cells = row.split()
            if cells[1].endswith(wanted) and (protocol == "udp" or cells[3] == _LISTENING):
                inodes.add(cells[9])
    return frozenset(_owners(inodes)) if inodes else frozenset()


def packet_listeners() -> frozenset[str]:
    """Programs with a packet socket: dhcpd listens on one, and on its UDP port only as a fallback."""
    rows = Path("/proc/net/packet").read_text().splitlines()[1:]
    return frozenset(_owners({row.split()[8] for row in rows})) - {KERNEL}


def _owners(inodes: set[str]) -> Iterator[str]:
    links = {f"socket:[{inode}]" for inode in inodes}
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and (held := links & frozenset(_open(process))):
            found |= held
            with suppress(OSError):  # it may have ended meanwhile
                yield (process / "comm").read_text().strip()
    if links - found:
        yield KERNEL


def _open(process: Path) -> Iterator[str]:
    with suppress(OSError):
        for entry in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(entry.readlink())
