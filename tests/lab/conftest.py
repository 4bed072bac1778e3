"""One lab for all tests that ask for one; where it cannot run they say why, and fail where it must (CI=true)."""

import os
from collections.abc import Iterator

import pytest

from tests.lab.host import obstacles
from tests.lab.lab import Lab
from tests.lab.site import Site


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


@pytest.fixture(scope="module")
def running(site_of_session: Site) -> Site:
    """GGnet, up, with whatever the last test left: another file's may have stopped it, or taken the server for itself."""
    if not site_of_session.lab.daemon.alive():
        site_of_session.start()
    return site_of_session


@pytest.fixture
def site(running: Site) -> Site:
    """GGnet, up, with the bare room committed and nothing else there."""
    if not running.lab.daemon.alive():
        running.start()
    running.reset()
    return running
