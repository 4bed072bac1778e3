"""A real PostgreSQL for the tests: its own folder, a free port on loopback, a password, stopped by its process id.

It refuses to run as root, so there it runs as an unprivileged user. It need not survive a power cut: no fsync.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
}
_START_SECONDS = 30


@dataclass(frozen=True)
class Postgres:
    port: int
    password: str

    def url(self, database: str) -> str:
        return f"postgresql://tester:{self.password}@127.0.0.1:{self.port}/{database}"

    async def create(self, database: str) -> str:
        """The URL of a new, empty database."""
        await self.execute(f'CREATE DATABASE "{database}"', self.url("postgres"))
        return self.url(database)

    async def execute(self, statement: str, url: str) -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _programs() -> Path:
    """The folder of initdb and postgres; the newest where Debian keeps several."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    found = debian[-1] if debian else shutil.which("initdb")
    if found is None:
        raise RuntimeError("the tests need PostgreSQL's initdb and postgres: install the package postgresql")
    return Path(found).resolve().parent


class _Account:
    """Whom PostgreSQL runs as: ourselves, or where we are root an account without rights."""

    def __init__(self) -> None:
        self.root = os.geteuid() == 0
        accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
        self.entry = accounts.get("postgres", accounts["nobody"]) if self.root else pwd.getpwuid(os.geteuid())

    def give(self, path: Path) -> None:
        if self.root:
            os.chown(path, self.entry.pw_uid, self.entry.pw_gid)

    def start(self, command: Sequence[object], folder: Path) -> subprocess.Popen[bytes]:
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the tests, and they stop it
                user=self.entry.pw_uid if self.root else None,
                group=self.entry.pw_gid if self.root else None,
                extra_groups=() if self.root else None,
            )


@contextmanager
def postgres() -> Iterator[Postgres]:
    programs, account, folder = _programs(), _Account(), Path(tempfile.mkdtemp(prefix="ggnet-postgres-"))
    server = Postgres(free_port(), secrets.token_hex(12))
    secret, data = folder / "password", folder / "data"
    secret.write_text(server.password)
    account.give(folder)
    account.give(secret)
    settings = [f"-c{name}={value}" for name, value in {**_SETTINGS, "port": server.port}.items()]
    init = [programs / "initdb", "-D", data, "-U", "tester", "-E", "UTF8", "-A", "scram-sha-256", f"--pwfile={secret}", "-N"]
    if account.start(init, folder).wait(_START_SECONDS):
        raise RuntimeError(f"initdb failed: {(folder / 'log').read_text()}")
    process = account.start([programs / "postgres", "-D", data, *settings], folder)
    try:
        _wait(process, data / "postmaster.pid", folder / "log")
        yield server
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: its data go next
        process.wait(_START_SECONDS)
        shutil.rmtree(folder)


def _wait(process: subprocess.Popen[bytes], pidfile: Path, log: Path) -> None:
    """Until it takes connections, which it writes into the last line of its pid file."""
    deadline = time.monotonic() + _START_SECONDS
    while not (pidfile.exists() and pidfile.read_text().rstrip().endswith("ready")):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")
        time.sleep(0.02)
