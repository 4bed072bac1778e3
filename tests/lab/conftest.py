"""One lab for all tests that ask for one; where it cannot run they say why, and fail where it must (CI=true)."""

import os
from collections.abc import Iterator

import pytest

from tests.lab.host import obstacles
from tests.lab.lab import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    reasons = obstacles()
    if reasons and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"lab: not available: {'; '.join(reasons)}", pytrace=False)
    if reasons:
        pytest.skip(f"lab: not available: {'; '.join(reasons)}")
    with Lab(tmp_path_factory.mktemp("lab") / "lab") as made:
        yield made
