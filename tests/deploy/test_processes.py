"""What compose.yaml starts, started here as processes by its own commands, environment and health checks."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest

from migrations import NEWEST
from tests.api.served import SITE, environment, machine
from tests.deploy.composed import Places, services
from tests.deploy.test_nginx import NAME, ask, client
from tests.servers import Nginx, Postgres, free_port, nginx, postgres, programs

GGNET = "import sys; sys.argv[0] = 'ggnet'; from api.cli.main import main; main()"


@dataclass
class Site:
    """The whole deployment; ``apis`` are the replicas' ports."""

    proxy: Nginx
    database: Postgres
    state: Path
    redis: int
    apis: tuple[int, int]
    processes: dict[str, "subprocess.Popen[bytes]"]

    def places(self, api: int = 0) -> Places:
        return Places(
            {
                "0.0.0.0:8080": f"127.0.0.1:{self.apis[api]}",
                "127.0.0.1:8080": f"127.0.0.1:{self.proxy.http}",
                "postgres:5432": f"127.0.0.1:{self.database.port}",
                "host=/run/postgresql": f"host={self.database.folder}&port={self.database.port}",
                "redis:6379": f"127.0.0.1:{self.redis}",
                "--port 6379": f"--port {self.redis}",
                "-p 6379": f"-p {self.redis}",
                "/run/secrets": str(self.proxy.secrets),
                "/var/lib/ggnet": str(self.state),
                "/sys/kernel/config": str(self.state / "configfs"),
                "/srv/tftp": str(self.state / "tftp"),
                "/etc/dhcp": str(self.state / "dhcp"),
                "/host/run": str(self.state),
            }
        )

    def surroundings(self, name: str, api: int = 0) -> dict[str, str]:
        """Of the service, and where the programs of its image are here."""
        python = Path(sys.executable).parent
        own = {"PATH": f"{python}:{programs()}:/usr/sbin:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
        more = {"PGHOST": "127.0.0.1", "PGPORT": str(self.database.port)} if name == "postgres" else {}
        service = services()[name]
        given = self.places(api).environment(service) if "environment" in service else {}
        return {**environment(), **given, **own, **more}

    def healthy(self, name: str, api: int = 0) -> bool:
        """What the service's own health check says now."""
        words = self.places(api).check(services()[name])
        done = subprocess.run(words, env=self.surroundings(name, api), capture_output=True, timeout=30, check=False)
        return done.returncode == 0

    def start(self, name: str, words: list[str], api: int = 0) -> "subprocess.Popen[bytes]":
        with (self.state / f"{name}-{api}.log").open("ab") as log:
            process = subprocess.Popen(words, env=self.surroundings(name, api), stdout=log, stderr=log, cwd=self.state)
        self.processes[f"{name}-{api}"] = process
        return process

    def ggnet(self, name: str, api: int = 0) -> "subprocess.Popen[bytes]":
        """The image's entry point with the service's command."""
        return self.start(name, [sys.executable, "-c", GGNET, *self.places(api).command(services()[name])], api)

    def becomes(self, name: str, healthy: bool, api: int = 0) -> bool:
        deadline = time.monotonic() + 60
        while self.healthy(name, api) != healthy:
            process = self.processes.get(f"{name}-{api}")
            ended = healthy and process is not None and process.poll() is not None
            if ended or time.monotonic() > deadline:
                log = self.state / f"{name}-{api}.log"
                raise AssertionError(f"{name} does not become {healthy}: {log.read_text() if log.exists() else ''}")
            time.sleep(0.2)
        return True

    def end(self, name: str) -> int:
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(30)


@contextmanager
def deployed(folder: Path) -> Iterator[Site]:
    apis = (free_port(), free_port())
    with ExitStack() as stack:
        database, proxy = stack.enter_context(postgres()), stack.enter_context(nginx(apis))
        site = Site(proxy, database, folder, free_port(), apis, {})
        try:
            yield site
        finally:
            for process in site.processes.values():
                process.kill()
                process.wait(30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Started in the order of the file, each once what it waits for is as it wants it."""
    with deployed(tmp_path_factory.mktemp("site")) as running:
        password = (running.proxy.secrets / "database_password").read_text().strip()
        for statement in (f"CREATE ROLE ggnet LOGIN PASSWORD '{password}'", "CREATE DATABASE ggnet OWNER ggnet"):
            anyio.run(running.database.execute, statement, running.database.url("postgres"))
        assert running.becomes("postgres", True)
        assert not running.healthy("redis")
        running.start("redis", running.places().command(services()["redis"]))
        assert running.becomes("redis", True)
        assert running.ggnet("migrate").wait(60) == 0
        assert not running.healthy("api")
        for number in range(2):
            running.ggnet("api", number)
        assert running.becomes("api", True, 0)
        assert running.becomes("api", True, 1)
        yield running


def bearer(site: Site) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {(site.state / 'admin.token').read_text().strip()}"}


def test_both_replicas_answer_through_the_proxy_by_one_token(site: Site) -> None:
    applied = ask(site.proxy, "/api/v1/apply", "POST", content=SITE, headers=bearer(site))
    assert applied.status_code == 200, applied.text
    answers = [ask(site.proxy, "/api/v1/machines", headers=bearer(site)) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    assert {len(answer.json()["items"]) for answer in answers} == {2}
    assert site.proxy.log_with(*(f'"upstream":"127.0.0.1:{port}"' for port in site.apis))
    assert ask(site.proxy, "/api/v1/machines").status_code == 401


def test_no_header_of_security_is_doubled(site: Site) -> None:
    for path in ("/healthz", "/api/v1/machines", "/nowhere"):
        names = [name.lower() for name, _ in ask(site.proxy, path).headers.multi_items()]
        assert len(names) == len(set(names) | {"set-cookie"} & set(names)), path


def test_a_change_comes_through_the_proxys_feed(site: Site) -> None:
    url = f"https://127.0.0.1:{site.proxy.https}/api/v1/watch"
    given = {"Host": NAME, **bearer(site)}
    with (
        client(site.proxy) as http,
        http.stream("GET", url, headers=given, extensions={"sni_hostname": NAME}) as feed,
    ):
        lines = feed.iter_lines()
        assert next(lines).startswith(":"), "the first line is there before anything happens"
        ask(site.proxy, "/api/v1/apply", "POST", content=machine(21), headers=bearer(site))
        assert any("pc21" in line for line in lines)


def test_the_proxys_own_check_tells_true_and_false(site: Site) -> None:
    assert site.healthy("nginx")
    site.proxy.stop()
    assert not site.healthy("nginx")
    site.proxy.start()
    assert site.becomes("nginx", True)


def test_a_replica_that_ends_is_told_by_its_check_and_missed_by_nobody(site: Site) -> None:
    assert site.end("api-1") == 0
    assert (site.healthy("api", 1), site.healthy("api", 0)) == (False, True)
    assert {ask(site.proxy, "/healthz").status_code for _ in range(4)} == {200}
    site.ggnet("api", 1)
    assert site.becomes("api", True, 1)


def test_the_controller_leads_by_the_databases_socket_and_its_lock_tells_so(site: Site) -> None:
    assert not site.healthy("controller")
    site.ggnet("controller")
    assert site.becomes("controller", True), (site.state / "controller-0.log").read_text()
    deadline = time.monotonic() + 30
    while not (lease := _checks(site)["controller"])["ok"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert lease["ok"], lease
    site.processes["controller-0"].send_signal(signal.SIGTERM)
    assert site.processes.pop("controller-0").wait(30) == 0
    assert not site.healthy("controller")


def _checks(site: Site) -> dict[str, dict[str, bool]]:
    with httpx.Client(trust_env=False, timeout=60) as http:
        found: dict[str, dict[str, bool]] = http.get(f"http://127.0.0.1:{site.apis[0]}/readyz").json()["checks"]
    return found


def test_redis_takes_nobody_without_its_password_and_its_check_tells_when_it_ends(site: Site) -> None:
    stranger = ["redis-cli", "-p", str(site.redis), "ping"]
    assert b"NOAUTH" in subprocess.run(stranger, capture_output=True, timeout=20, check=False).stdout
    secret = (site.proxy.secrets / "redis_password").read_text().strip()
    process = site.processes["redis-0"].pid
    assert b"redis-server" in Path(f"/proc/{process}/cmdline").read_bytes(), "the shell has become the server"
    assert secret.encode() not in Path(f"/proc/{process}/cmdline").read_bytes()
    site.end("redis-0")
    assert not site.healthy("redis")
    site.start("redis", site.places().command(services()["redis"]))
    assert site.becomes("redis", True)


def test_a_migration_that_fails_says_so_by_its_code(site: Site) -> None:
    url = site.database.url("ggnet")
    anyio.run(site.database.execute, "UPDATE alembic_version SET version_num = '9999'", url)
    try:
        assert site.ggnet("migrate").wait(60) == 1
    finally:
        anyio.run(site.database.execute, f"UPDATE alembic_version SET version_num = '{NEWEST}'", url)
    log = (site.state / "migrate-0.log").read_text()
    assert "newer version" in log
    assert (site.proxy.secrets / "database_password").read_text().strip() not in log


def test_a_database_that_does_not_answer_ends_what_needs_it(site: Site) -> None:
    site.database.stop()
    assert not site.healthy("postgres")
    try:
        assert site.ggnet("migrate").wait(60) == 1
        other = free_port()
        surroundings = {**site.surroundings("api"), "GGNET_LISTEN": f"127.0.0.1:{other}"}
        words = [sys.executable, "-c", GGNET, "api"]
        started = subprocess.run(words, env=surroundings, capture_output=True, text=True, timeout=60, check=False)
        assert (started.returncode, "see that PostgreSQL answers" in started.stderr) == (1, True), started.stderr
    finally:
        site.database.start()
