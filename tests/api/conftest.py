from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.served import SITE, Served, serving


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Served]:
    """An empty door."""
    with serving(tmp_path) as served:
        yield served


@pytest.fixture
def site(door: Served) -> Served:
    """A network, an image and two machines, and a controller that is alive."""
    door.lead()
    door.apply(SITE)
    return door
