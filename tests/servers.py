"""A real PostgreSQL and a real Redis for the tests: own folder, free port on loopback, password, ended by process id.

PostgreSQL refuses to run as root, so there it runs as an unprivileged user. It survives its own crash, but not a power
cut: no fsync.
Both can be stopped and started again on the same port and data.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
}
_START_SECONDS = 30


@dataclass(frozen=True)
class Postgres:
    """One server; after ``stop`` its port refuses, after ``start`` it has its data again."""

    port: int
    password: str
    folder: Path
    running: list["subprocess.Popen[bytes]"]

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

    def start(self) -> None:
        settings = [f"-c{name}={value}" for name, value in {**_SETTINGS, "port": self.port}.items()]
        data, log = self.folder / "data", self.folder / "log"
        process = _Account().start([_programs() / "postgres", "-D", data, *settings], self.folder)
        self.running.append(process)
        _wait(process, log, lambda: _ready(data / "postmaster.pid"))

    def stop(self, *, immediate: bool = False) -> None:
        """Open transactions are cut; ``immediate`` is a crash: what was committed comes back from the log."""
        process = self.running.pop()
        process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        process.wait(_START_SECONDS)


@dataclass(frozen=True)
class Redis:
    """One server, which keeps nothing over a restart: nobody may count on it."""

    port: int
    password: str
    folder: Path
    running: list["subprocess.Popen[bytes]"]

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("the tests need redis-server: install the package redis-server")
        secret = self.folder / "redis.conf"
        secret.write_text(f"requirepass {self.password}\n")
        secret.chmod(0o600)
        words = [program, secret, "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in words], cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self.running.append(process)
        _wait(process, self.folder / "log", lambda: _answers(self.port))

    def stop(self) -> None:
        process = self.running.pop()
        process.terminate()
        process.wait(_START_SECONDS)


@contextmanager
def redis() -> Iterator[Redis]:
    with tempfile.TemporaryDirectory(prefix="ggnet-redis-") as folder:
        server = Redis(free_port(), secrets.token_hex(12), Path(folder), [])
        server.start()
        try:
            yield server
        finally:
            if server.running:
                server.stop()


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
    server = Postgres(free_port(), secrets.token_hex(12), folder, [])
    secret, data = folder / "password", folder / "data"
    secret.write_text(server.password)
    account.give(folder)
    account.give(secret)
    init = [programs / "initdb", "-D", data, "-U", "tester", "-E", "UTF8", "-A", "scram-sha-256", f"--pwfile={secret}", "-N"]
    if account.start(init, folder).wait(_START_SECONDS):
        raise RuntimeError(f"initdb failed: {(folder / 'log').read_text()}")
    try:
        server.start()
        yield server
    finally:
        if server.running:
            server.stop(immediate=True)  # its data go next
        shutil.rmtree(folder)


def _ready(pidfile: Path) -> bool:
    """Whether it takes connections, which it writes into the last line of its pid file."""
    return pidfile.exists() and pidfile.read_text().rstrip().endswith("ready")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(process: "subprocess.Popen[bytes]", log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start: {log.read_text()}")
        time.sleep(0.02)
