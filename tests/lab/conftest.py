"""One lab for all tests that ask for one; where it cannot run they say why, and fail where it must (CI=true)."""

import os
from collections.abc import Iterator

import pytest

from tests.lab.host import obstacles
from tests.lab.lab import Lab
from tests.lab.site import Site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first of the lab's: whoever takes it is not the last to end."""
    lab = [at for at, item in enumerate(items) if item.path.parent.name == "lab"]
    first = sorted((items[at] for at in lab), key=lambda item: item.path.name != "test_kill.py")
    for at, item in zip(lab, first, strict=True):
        items[at] = item


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    reasons = obstacles()
    if reasons and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"lab: not available: {'; '.join(reasons)}", pytrace=False)
    if reasons:
        pytest.skip(f"lab: not available: {'; '.join(reasons)}")
    with Lab(tmp_path_factory.mktemp("lab") / "lab") as made:
        yield made


@pytest.fixture(scope="module")
def bare(lab: Lab) -> Lab:
    """The lab without the product: nobody repairs what is done to the server, and its kernel is empty."""
    if lab.daemon.pid is not None:
        lab.daemon.stop()
        lab.restart()
    return lab


@pytest.fixture(scope="session")
def site_of_session(lab: Lab) -> Iterator[Site]:
    """GGnet on the boot server. What a test changes of it, it puts back; see ``site``."""
    site = Site(lab)
    site.open()
    yield site
    site.hang_up()


@pytest.fixture
def site(site_of_session: Site) -> Site:
    """GGnet, up, with the bare room committed and nothing else there."""
    if not site_of_session.lab.daemon.alive():
        site_of_session.start()
    site_of_session.reset()
    return site_of_session
