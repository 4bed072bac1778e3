"""GGnet on the boot server: started, asked, stopped and killed from outside, as an administrator would."""

import time
from collections.abc import Mapping
from pathlib import Path

from tests.lab.guest import ADDRESS, Guest, Result
from tests.lab.host import HERE

PORT = 8080
_ROOT = HERE.parents[1]
_COMMAND = f"""#!{_ROOT}/.venv/bin/python
import sys
sys.path.insert(0, {str(_ROOT)!r})
sys.argv[0] = "ggnet"
from api.cli.main import main
sys.exit(main())
"""
SETTINGS = {
    "GGNET_MANIFESTS": "file:///lab/io/manifests.git#main",
    "GGNET_IMPORT_DIR": "/lab/io/imports",
    "GGNET_DHCPD_RESTART": "/usr/local/sbin/restart-dhcpd",
    "GGNET_LISTEN": f"{ADDRESS}:{PORT}",
    "GGNET_SITE": "lab",
}


class Daemon:
    """One ``ggnet up`` in the guest; ``log`` is what it said, ``token`` lets in whoever holds it."""

    def __init__(self, guest: Guest, io: Path) -> None:
        self._guest = guest
        self.log = io / "ggnet.log"
        self.settings = dict(SETTINGS)
        self.pid: int | None = None
        command = io / "ggnet"
        command.write_text(_COMMAND)
        command.chmod(0o755)

    def start(self, env: Mapping[str, str] | None = None, *, timeout: float = 180) -> None:
        """Starts it and waits until it is ready. ``env`` stays for its commands and later starts. AssertionError."""
        self.settings |= env or {}
        started = self._guest.run("/lab/io/ggnet up >>/lab/io/ggnet.log 2>&1 </dev/null & echo $!", env=self.settings)
        self.pid = int(started.check())
        began = looked = time.monotonic()
        while not self.ready():
            now = time.monotonic()
            assert now < began + timeout, f"the daemon is not ready after {timeout:.0f} s\n{self._tail()}"
            if now > looked + 2:  # each look costs the guest a process, while it has one to start
                looked = now
                assert self.alive(), f"the daemon ended\n{self._tail()}"
            time.sleep(0.1)

    def ready(self) -> bool:
        """What ``/readyz`` says; False while nobody answers."""
        try:
            with self._guest.connect(PORT) as line:
                line.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                return b" 200 " in line.recv(64)
        except OSError:
            return False

    def alive(self) -> bool:
        return self.pid is not None and bool(self._guest.look(f"/proc/{self.pid}"))

    def stop(self, *, signal: str = "TERM", timeout: float = 30) -> None:
        """Ends it; with ``signal`` KILL as a crash would. AssertionError."""
        if self.pid is None:
            return
        wait = f"kill -{signal} {self.pid} && while [ -d /proc/{self.pid} ]; do sleep 0.02; done"
        self._guest.run(["timeout", str(timeout), "bash", "-c", wait]).check()
        self.pid = None

    def ggnet(self, *arguments: str, timeout: float = 60) -> Result:
        """The command line, run in the guest next to the daemon."""
        return self._guest.run(["/lab/io/ggnet", *arguments], env=self.settings, timeout=timeout)

    @property
    def token(self) -> str:
        return self._guest.read("/var/lib/ggnet/admin.token").strip()

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
