"""One TFTP tree and the hands that disturb it: in memory, and real files that a real in.tftpd serves."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

from controller.adapters.simulated.services import MemoryTftp
from controller.adapters.tftp import TftpTree
from controller.core.names import Site
from controller.ports.host import Tftp
from tests.contracts.dhcp_rigs import wait_until

SITE = Site(site="lab", server="bs1")
PROGRAMS = {"undionly.kpxe": b"\x00bios" * 3000, "ipxe.efi": b"MZuefi" * 9000}


class Rig(Protocol):
    tftp: Tftp

    def put(self, path: str, data: bytes) -> None: ...

    def drop(self, path: str) -> None: ...

    def paths(self) -> list[str]: ...

    def get(self, path: str) -> bytes | None:
        """What a client on the network gets."""

    def break_root(self) -> None: ...

    def fill_disk(self) -> None: ...

    def close(self) -> None: ...


class MemoryRig:
    def __init__(self, folder: Path) -> None:
        self.memory = MemoryTftp(site=SITE, nbps=PROGRAMS)
        self.tftp: Tftp = self.memory

    def put(self, path: str, data: bytes) -> None:
        self.memory.files[path] = data

    def drop(self, path: str) -> None:
        del self.memory.files[path]

    def paths(self) -> list[str]:
        return sorted(self.memory.files)

    def get(self, path: str) -> bytes | None:
        return self.memory.files.get(path)

    def break_root(self) -> None:
        self.memory.problem = "the TFTP root is missing"

    def fill_disk(self) -> None:
        self.memory.disk_full = True

    def close(self) -> None: ...


class TreeRig:
    """in.tftpd on an address of the loopback that no other test uses."""

    def __init__(self, folder: Path) -> None:
        self._served = tempfile.TemporaryDirectory(prefix="ggnet-tftp-")  # pytest's own folders are closed to in.tftpd
        Path(self._served.name).chmod(0o755)
        self.root, nbps = Path(self._served.name, "tftp"), folder / "nbps"
        self.root.mkdir()
        self.root.chmod(0o755)
        nbps.mkdir()
        for name, data in PROGRAMS.items():
            (nbps / name).write_bytes(data)
        self.tftp: Tftp = TftpTree(self.root, nbps, SITE)
        pid = os.getpid()
        self.address = f"127.{pid >> 14 & 127 | 64}.{pid >> 7 & 127}.{pid & 127 | 128}"
        self.server: subprocess.Popen[bytes] | None = None

    def put(self, path: str, data: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)

    def drop(self, path: str) -> None:
        (self.root / path).unlink()

    def paths(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir())

    def serve(self) -> None:
        if self.server is None:
            argv = ["in.tftpd", "--ipv4", "--foreground", "--secure", "--user", "nobody", "--address", f"{self.address}:69"]
            self.server = subprocess.Popen(["/usr/sbin/in.tftpd", *argv[1:], str(self.root)], stderr=subprocess.PIPE)
            address = b"".join(bytes([int(part)]) for part in reversed(self.address.split("."))).hex().upper()
            wait_until(lambda: f"{address}:0045" in Path("/proc/net/udp").read_text())

    def get(self, path: str) -> bytes | None:
        self.serve()
        argv = ["curl", "-sS", "--max-time", "5", f"tftp://{self.address}/{path}"]
        result = subprocess.run(argv, capture_output=True, check=False)
        return result.stdout if result.returncode == 0 else None

    def break_root(self) -> None:
        self.root.rename(self.root.with_name("moved"))

    def fill_disk(self) -> None:
        mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(self.root)]
        subprocess.run(mount, check=True)

    def close(self) -> None:
        if self.server:
            self.server.kill()
            self.server.communicate()
        if self.root.is_mount():
            subprocess.run(["umount", "-l", str(self.root)], check=True)
        self._served.cleanup()
