"""What is forced over a git source ends at its next reading, also of a commit that it has taken already."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.adapters.clock import SystemClock
from controller.adapters.command import run
from controller.adapters.git import GitAddress, GitSource
from controller.adapters.store import SqlStore
from controller.shell.sources import Intake
from tests.contracts.stores import API, machine
from tests.controller.adapters.test_sources import IDENTITY

pytestmark = pytest.mark.anyio
MACHINES = "".join(
    f"---\napiVersion: ggnet/v1\nkind: Machine\nmetadata: {{name: pc{n}}}\nspec: {{macs: ['52:54:00:00:00:0{n}']}}\n"
    for n in (1, 2)
)
PC1 = "Machine/pc1"


class Repository:
    """A repository with its intake into a store, and the hand of somebody who is in a hurry."""

    def __init__(self, folder: Path, store: SqlStore) -> None:
        self.folder, self.store, self.clock = folder / "work", store, SystemClock()
        self.source = GitSource(GitAddress.parse(str(self.folder)), folder / "state", 0.1)
        self.intake = self.started()

    def started(self) -> Intake:
        """As a process that has just begun."""
        return Intake(self.source, self.store, self.clock, lambda: None)

    async def git(self, *words: str) -> None:
        self.folder.mkdir(exist_ok=True)
        (await run(["git", "-C", self.folder, *words], timeout=30, env=IDENTITY)).check()

    async def commit(self, text: str) -> None:
        (self.folder / "site.yaml").write_text(text)
        await self.git("add", "-A")
        await self.git("commit", "-q", "-m", "change")

    async def force(self) -> None:
        await self.store.put([machine(mac=9)], API, self.clock.now(), force=True)

    async def mac(self) -> str:
        return str((await self.store.fetch([PC1]))[PC1].spec.macs[0])  # type: ignore[union-attr]

    async def told(self) -> list[str]:
        return [event.reason for event in await self.store.events(PC1)]


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def repository(url: str, tmp_path: Path) -> AsyncIterator[Repository]:
    store = await SqlStore.open(url)
    found = Repository(tmp_path, store)
    await found.git("init", "-q", "-b", "main")
    await found.commit(MACHINES)
    await found.intake.take()
    yield found
    await store.close()


async def test_a_forced_change_is_put_back_by_the_same_commit_and_said(repository: Repository) -> None:
    await repository.force()
    assert await repository.mac() == "52:54:00:00:00:09"
    before = await repository.store.revisions()
    await repository.intake.take()
    found = (await repository.store.fetch([PC1]))[PC1].metadata
    assert (await repository.mac(), found.overridden_by) == ("52:54:00:00:00:01", None)
    (event,) = await repository.store.events(PC1)
    assert (event.type, event.reason, "by force" in event.message) == ("Normal", "OverrideEnded", True)
    assert API not in event.message, "names stand in the audit log, where they can be forgotten"
    assert await repository.store.revisions() == before, "the commit was taken once"
    _, version = await repository.store.list()
    await repository.intake.take()
    assert (await repository.store.list())[1] == version, "and then nothing is written any more"


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_what_was_deleted_by_force_is_there_again(repository: Repository, withdrawn: bool) -> None:
    store, now = repository.store, repository.clock.now()
    uid = (await store.get(PC1)).metadata.uid or ""
    await store.mark_deleted([PC1], now, who=API)
    if withdrawn:
        await store.remove(PC1, uid, now)
    await repository.intake.take()
    found = (await store.get(PC1)).metadata
    assert (found.deleted_at, found.managed_by, found.uid == uid) == (None, repository.intake.manager, not withdrawn)
    assert await repository.told() == ["OverrideEnded"]
    assert await store.overridden(repository.intake.manager) == {}


async def test_a_suspended_object_stays_as_it_was_forced_until_it_is_resumed(repository: Repository) -> None:
    await repository.store.annotate(PC1, {"ggnet/paused": "true"})
    await repository.force()
    await repository.intake.take()
    await repository.commit(MACHINES.replace("macs:", "hostname: h1\n, macs:", 1).replace("h1\n", "h1"))
    await repository.intake.take()
    await repository.started().take()
    assert (await repository.mac(), await repository.told()) == ("52:54:00:00:00:09", [])
    await repository.store.annotate(PC1, {"ggnet/paused": None})
    await repository.intake.take()
    assert (await repository.mac(), await repository.told()) == ("52:54:00:00:00:01", ["OverrideEnded"])


async def test_a_controller_that_starts_puts_back_what_was_forced_while_it_was_away(repository: Repository) -> None:
    await repository.force()
    await repository.started().take()
    assert (await repository.mac(), await repository.told()) == ("52:54:00:00:00:01", ["OverrideEnded"])


async def test_a_commit_that_was_refused_puts_nothing_back(repository: Repository) -> None:
    await repository.commit(MACHINES.replace("macs", "mac"))
    await repository.intake.take()
    await repository.force()
    await repository.intake.take()
    assert (await repository.mac(), await repository.told()) == ("52:54:00:00:00:09", [])


async def test_an_override_of_what_the_source_no_longer_holds_and_must_not_prune_is_left_and_asked_for_once(
    repository: Repository,
) -> None:
    await repository.store.annotate(PC1, {"ggnet/prune": "disabled"})
    await repository.store.put([machine(mac=9, prune="disabled")], API, repository.clock.now(), force=True)
    await repository.commit(MACHINES[MACHINES.rindex("---") :])
    await repository.intake.take()
    _, version = await repository.store.list()
    await repository.intake.take()
    assert (await repository.mac(), (await repository.store.list())[1]) == ("52:54:00:00:00:09", version)
