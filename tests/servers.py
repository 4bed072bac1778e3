"""A real PostgreSQL, Redis and nginx for the tests: own folder, free port on loopback, secrets, ended by process id.

PostgreSQL refuses to run as root, so there it runs as an unprivileged user. It survives its own crash, but not a power
cut: no fsync.
All can be stopped and started again on the same port and data.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
}
_START_SECONDS = 30
_DEPLOY = Path(__file__).parent.parent / "deploy"
_SECRETS_GROUP = 10001  # who may read what make-secrets makes


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
        own = {**_SETTINGS, "port": self.port, "unix_socket_directories": self.folder}
        settings = [f"-c{name}={value}" for name, value in own.items()]
        data, log = self.folder / "data", self.folder / "log"
        process = _Account().start([programs() / "postgres", "-D", data, *settings], self.folder)
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


def programs() -> Path:
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

    def start(self, command: Sequence[object], folder: Path, groups: Sequence[int] = ()) -> subprocess.Popen[bytes]:
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
                extra_groups=groups if self.root else None,
            )


@dataclass(frozen=True)
class Nginx:
    """One proxy with the configuration of ``deploy/nginx``, in front of these upstreams; ``secrets`` has its certificate."""

    http: int
    https: int
    folder: Path
    running: list["subprocess.Popen[bytes]"]

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def command(self) -> list[str]:
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
        if program is None:
            raise RuntimeError("the tests need nginx: install the package nginx-light")
        return [program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", str(self.folder / "error.log")]

    def configure(self, upstreams: Sequence[int]) -> None:
        """The files as they are, with the places of this machine; each place must be there to be replaced."""
        servers = "".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=2s; " for port in upstreams)
        ports = {"8080": self.http, "8443": self.https}
        places = {
            "server api:8080 max_fails=1 fail_timeout=2s;": servers,
            **{f"    listen [::]:{port}": f"    # [::]:{port}" for port in ports},
            **{f"listen {port}": f"listen 127.0.0.1:{here}" for port, here in ports.items()},
            "/run/secrets/": f"{self.secrets}/",
            "/dev/stdout": f"{self.folder}/access.log",
        }
        _place(_DEPLOY / "nginx" / "ggnet.conf", self.folder / "ggnet.conf", places)
        own = {
            "/tmp/": f"{self.folder}/",
            "/dev/stderr": f"{self.folder}/error.log",
            "/etc/nginx/ggnet": f"{self.folder}/ggnet",
        }
        _place(_DEPLOY / "nginx" / "nginx.conf", self.folder / "nginx.conf", own)

    def start(self) -> None:
        process = _Account().start([*self.command, "-g", "daemon off;"], self.folder, [_SECRETS_GROUP])
        self.running.append(process)
        _wait(process, self.folder / "log", lambda: _answers(self.https))

    def check(self) -> tuple[int, str]:
        """``nginx -t``: its code, and what it said."""
        code = _Account().start([*self.command, "-t"], self.folder, [_SECRETS_GROUP]).wait(_START_SECONDS)
        return code, (self.folder / "log").read_text()

    def log_with(self, *words: str) -> str:
        """The access log once it has these words: nginx writes a line after it has answered."""
        deadline = time.monotonic() + _START_SECONDS
        while not all(word in (log := (self.folder / "access.log").read_text()) for word in words):
            assert time.monotonic() < deadline, f"the log never had {words}: {log}"
            time.sleep(0.02)
        return log

    def stop(self) -> None:
        process = self.running.pop()
        process.send_signal(signal.SIGTERM)
        process.wait(_START_SECONDS)


def _place(source: Path, target: Path, places: Mapping[str, str]) -> None:
    text = source.read_text()
    for old, new in places.items():
        assert old in text, f"{source} has no {old!r} to be replaced"
        text = text.replace(old, new)
    target.write_text(text)


@contextmanager
def nginx(upstreams: Sequence[int], name: str = "ggnet.internal") -> Iterator[Nginx]:
    """Unprivileged as in its container, with a certificate of its own for ``name``."""
    folder = Path(tempfile.mkdtemp(prefix="ggnet-nginx-"))
    server = Nginx(free_port(), free_port(), folder, [])
    try:
        _Account().give(folder)
        made = [_DEPLOY / "make-secrets", "--self-signed", name, server.secrets]
        subprocess.run([str(word) for word in made], check=True, capture_output=True, timeout=_START_SECONDS)
        server.configure(upstreams)
        server.start()
        yield server
    finally:
        if server.running:
            server.stop()
        shutil.rmtree(folder)


@contextmanager
def postgres() -> Iterator[Postgres]:
    found, account, folder = programs(), _Account(), Path(tempfile.mkdtemp(prefix="ggnet-postgres-"))
    server = Postgres(free_port(), secrets.token_hex(12), folder, [])
    secret, data = folder / "password", folder / "data"
    secret.write_text(server.password)
    account.give(folder)
    account.give(secret)
    init = [found / "initdb", "-D", data, "-U", "tester", "-E", "UTF8", "-A", "scram-sha-256", f"--pwfile={secret}", "-N"]
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
