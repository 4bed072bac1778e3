"""Fixtures that every room uses."""

import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import HealthCheck, settings

from controller.adapters import migrate
from controller.adapters.every_table import metadata
from controller.adapters.tables import audit_marks, counters
from tests import logs
from tests.order import place
from tests.servers import Postgres, Redis, postgres, redis

if TYPE_CHECKING:
    from xdist.remote import Producer

    from tests.distribution import Distribution

# Laws are looked for the same way every time, and a busy machine is no counter-example.
settings.register_profile("ggnet", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ggnet")

logs.configure()

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every command that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--upload-mib", type=int, default=64, metavar="N", help="what clients upload: 1024 takes minutes")


def pytest_runtest_logstart() -> None:
    logs.forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (told := logs.told().splitlines()[-100:]):
        report.sections.append(("Log of this process", "\n".join(told)))
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "Distribution":
    from tests.distribution import Distribution

    return Distribution(config, log)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    with redis() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_database(postgres_server: Postgres) -> str:
    url = anyio.run(postgres_server.create, "store")
    anyio.run(migrate.upgrade, url)
    return url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with our schema, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    anyio.run(migrate.upgrade, f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'ggnet.db')}"


@pytest.fixture
def postgres_url(postgres_server: Postgres, migrated_database: str) -> str:
    """The one database with our schema, emptied: making one takes longer than most tests."""
    kept = (counters, audit_marks)
    statements = ["SET session_replication_role = replica"]  # without triggers, which guard the audit log
    statements += [f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables) if table not in kept]
    statements += ["UPDATE counters SET value = 0", "UPDATE audit_marks SET seq = 0, hash = repeat('0', 64)"]
    anyio.run(postgres_server.execute, ";".join(statements), migrated_database)
    return migrated_database


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str | None:
    """Each answer to ``Store``; None stands for the one in memory. A PostgreSQL is started only for those who ask."""
    fixtures = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}
    return request.getfixturevalue(fixtures[request.param]) if request.param in fixtures else None
