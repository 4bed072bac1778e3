from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api import served
from tests.api.served import SITE, Served, serving
from tests.api.warm import Warm


@pytest.fixture(scope="session")
def warm() -> Warm:
    return served.warm()


@pytest.fixture
def door(tmp_path: Path, warm: Warm) -> Iterator[Served]:
    """An empty door."""
    with serving(tmp_path, warm) as served:
        yield served


@pytest.fixture
def site(door: Served) -> Served:
    """A network, an image and two machines, and a controller that is alive."""
    door.lead()
    door.apply(SITE)
    return door


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path, warm: Warm) -> Iterator[Served]:
    """The same site on either database."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    with serving(tmp_path, warm, database_url=url) as served:
        served.lead()
        served.apply(SITE)
        yield served
