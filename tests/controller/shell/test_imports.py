"""Imports beside the passes: begun once, told of, and cut off when nobody wants them."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
import pytest

from controller.adapters.simulated.pool import MemoryPool
from controller.core.desired import Commit, Golden
from controller.core.names import OverlayName
from controller.core.steps import CommitOverlay, CreateOverlay, ImportImage
from controller.ports.host import EffectFailed, EffectRefused, EffectUnderway, Fetched
from controller.shell.imports import Imports

pytestmark = pytest.mark.anyio
ACTION = ImportImage("win11", 1, "win11.raw")
WIN = Golden("win11", "win11.raw")


@dataclass
class SlowPool(MemoryPool):
    """Imports wait until they are let go; each is counted."""

    go: anyio.Event = field(default_factory=anyio.Event)
    begun: int = 0
    cut: int = 0

    async def import_image(self, action: ImportImage, told: Callable[[float], None] = lambda part: None) -> str:
        self.begun += 1
        told(0.4)
        try:
            await self.go.wait()
        except BaseException:
            self.cut += 1
            raise
        return await super().import_image(action, told)


@asynccontextmanager
async def importing(pool: MemoryPool) -> AsyncIterator[tuple[Imports, list[str]]]:
    woken: list[str] = []
    async with anyio.create_task_group() as tasks:
        yield Imports(pool, tasks, woken.append), woken
        tasks.cancel_scope.cancel()


async def underway(imports: Imports) -> str:
    with pytest.raises(EffectUnderway) as told:
        await imports.make(ACTION)
    await anyio.wait_all_tasks_blocked()
    return str(told.value)


async def test_an_import_is_begun_once_and_tells_how_far_it_is() -> None:
    pool = SlowPool(sources={"win11.raw": (bytes(512), 1)})
    async with importing(pool) as (imports, woken):
        assert await underway(imports) == "importing win11@v1.raw: 0%"
        assert await underway(imports) == "importing win11@v1.raw: 40%"
        assert pool.begun == 1
        pool.go.set()
        await anyio.wait_all_tasks_blocked()
        assert woken == ["Image/win11"]
        assert await imports.make(ACTION) == "reflink"
        assert ("win11", 1) in pool.images


async def test_a_comment_that_changes_meanwhile_begins_no_second_import() -> None:
    pool = SlowPool(sources={"win11.raw": (bytes(512), 1)})
    async with importing(pool) as (imports, _):
        await underway(imports)
        with pytest.raises(EffectUnderway):
            await imports.make(replace(ACTION, comment="said later"))
        await anyio.wait_all_tasks_blocked()
        assert pool.begun == 1


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> anyio.Event:
    """When one that failed may be begun anew."""
    event = anyio.Event()
    monkeypatch.setattr("controller.shell.imports._AGAIN_SECONDS", 0.0)
    monkeypatch.setattr("controller.shell.imports.anyio.sleep_until", lambda when: event.wait())
    return event


async def test_one_whose_file_comes_late_is_begun_anew_without_a_sweep(due: anyio.Event) -> None:
    pool = MemoryPool()
    async with importing(pool) as (imports, woken):
        await underway(imports)
        assert woken == ["Image/win11"]
        pool.sources["win11.raw"] = (bytes(512), 1)
        due.set()
        await anyio.wait_all_tasks_blocked()
        assert woken == 2 * ["Image/win11"]
        await underway(imports)
        assert await imports.make(ACTION) == "reflink"


async def test_one_that_failed_and_is_not_wanted_any_more_wakes_nobody(due: anyio.Event) -> None:
    async with importing(MemoryPool()) as (imports, woken):
        await underway(imports)
        imports.keep({})
        due.set()
        await anyio.wait_all_tasks_blocked()
        assert woken == ["Image/win11"]


@dataclass
class SlowCommits(MemoryPool):
    """Commits wait until they are let go."""

    go: anyio.Event = field(default_factory=anyio.Event)
    begun: int = 0

    async def commit_overlay(self, action: CommitOverlay, told: Callable[[float], None] = lambda part: None) -> str:
        self.begun += 1
        told(0.4)
        await self.go.wait()
        return await super().commit_overlay(action, told)


async def test_a_commit_goes_on_beside_the_passes_tells_how_far_it_is_and_is_its_sessions() -> None:
    pool = SlowCommits(sources={"win11.raw": (bytes(512), 1)})
    name = OverlayName("pc07", "os", "win11", 1, "0b6f6a52-6a3c-4b1e-8a53-1f2a3c4d5e6f")
    commit = CommitOverlay(name, 2, "commit one", "pc07")
    await pool.import_image(ACTION)
    await pool.create_overlay(CreateOverlay(name, 512))
    async with importing(pool) as (imports, woken):
        for part in ("0%", "40%"):
            with pytest.raises(EffectUnderway, match=f"committing {re.escape(str(name))} as win11@v2.raw: {part}"):
                await imports.make(commit)
            await anyio.wait_all_tasks_blocked()
        imports.keep({}, [Commit("pc07", name.uid, "os", "win11", 1, "one")])
        pool.go.set()
        await anyio.wait_all_tasks_blocked()
        assert await imports.make(commit) == "reflink"
        assert (pool.begun, woken, ("win11", 2) in pool.images) == (1, ["Session/pc07"], True)


async def test_of_an_import_and_a_commit_of_one_image_one_goes_on_at_a_time_and_the_other_says_what_it_waits_for() -> None:
    pool = SlowCommits(sources={"win11.raw": (bytes(512), 1), "debian.raw": (bytes(512), 1)})
    name = OverlayName("pc07", "os", "win11", 1, "0b6f6a52-6a3c-4b1e-8a53-1f2a3c4d5e6f")
    await pool.import_image(ACTION)
    await pool.create_overlay(CreateOverlay(name, 512))
    pool.put("win11.raw", bytes(1024))
    async with importing(pool) as (imports, _):
        with pytest.raises(EffectUnderway):
            await imports.make(CommitOverlay(name, 2, "commit one", "pc07"))
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(EffectUnderway, match="waits for its turn: committing") as waits:
            await imports.make(replace(ACTION, version=2))
        assert waits.value.phase == "Pending"
        with pytest.raises(EffectUnderway, match="importing debian@v1"):
            await imports.make(ImportImage("debian", 1, "debian.raw"))
        pool.go.set()
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(EffectUnderway, match="importing win11@v3"):
            await imports.make(replace(ACTION, version=3))
        await anyio.wait_all_tasks_blocked()
        assert await imports.make(replace(ACTION, version=3)) == "reflink"
        assert pool.identities["win11", 2] == "commit one"


async def test_an_import_that_fails_again_and_again_holds_no_commit_of_its_image_up() -> None:
    pool = SlowCommits(sources={"win11.raw": (bytes(512), 1)})
    name = OverlayName("pc07", "os", "win11", 1, "0b6f6a52-6a3c-4b1e-8a53-1f2a3c4d5e6f")
    await pool.import_image(ACTION)
    await pool.create_overlay(CreateOverlay(name, 512))
    pool.go.set()
    missing, commit = replace(ACTION, version=2, source="nowhere.raw"), CommitOverlay(name, 2, "commit one", "pc07")
    async with importing(pool) as (imports, _):
        with pytest.raises(EffectUnderway):
            await imports.make(missing)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(EffectRefused):
            await imports.make(missing)
        with pytest.raises(EffectUnderway, match="committing"):
            await imports.make(commit)
        await anyio.wait_all_tasks_blocked()
        assert await imports.make(commit) == "reflink"


async def test_one_that_failed_is_not_begun_anew_at_once() -> None:
    pool = SlowPool()
    pool.go.set()
    async with importing(pool) as (imports, _):
        await underway(imports)
        for _ in range(3):
            with pytest.raises(EffectRefused, match="is not there"):
                await imports.make(ACTION)
        assert pool.begun == 1


URL = ImportImage("win11", 1, "https://x/win11.raw?token=secret", origin="url", sha256="a" * 64)


@dataclass
class FarPool(MemoryPool):
    """Sources come from afar as slowly as a test tells; ``reason`` is why they do not."""

    at: Fetched = field(default_factory=Fetched)
    go: anyio.Event = field(default_factory=anyio.Event)
    reason: str = ""
    begun: int = 0

    async def fetch_source(self, action: ImportImage, told: Callable[[Fetched], None]) -> None:
        self.begun += 1
        told(self.at)
        await self.go.wait()
        if self.reason:
            raise EffectFailed(self.reason, "it did not come", 7200.0 if self.reason == "DigestMismatch" else None)
        await super().fetch_source(action, told)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (Fetched(), "0 MiB"),
        (Fetched(3 << 30), "3072 MiB"),
        (Fetched(3 << 30, 4 << 30), "75% of 4096 MiB"),
        (Fetched(1 << 30, 4 << 30, "the connection broke; on again in 4 s"), "25% of 4096 MiB; the connection broke; on"),
    ],
)
async def test_a_source_is_fetched_first_which_is_a_phase_of_its_own(at: Fetched, said: str) -> None:
    pool = FarPool(sources={URL.source: (bytes(512), 1)}, at=at)
    async with importing(pool) as (imports, woken):
        with pytest.raises(EffectUnderway) as began:
            await imports.make(URL)
        assert (began.value.phase, str(began.value)) == ("Downloading", "downloading win11@v1.raw: 0 MiB")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(EffectUnderway) as told:
            await imports.make(URL)
        assert (told.value.phase, str(told.value).startswith(f"downloading win11@v1.raw: {said}")) == ("Downloading", True)
        pool.go.set()
        await anyio.wait_all_tasks_blocked()
        assert await imports.make(URL) == "reflink"
        assert (woken, pool.brought) == (["Image/win11"], {URL.identity})


@pytest.mark.parametrize(
    ("reason", "pauses"),
    [("DownloadFailed", [30, 60, 120, 240, 480, 900, 900]), ("DigestMismatch", [7200, 7200])],
)
async def test_what_is_fetched_in_vain_is_fetched_ever_more_seldom(
    reason: str, pauses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("controller.shell.imports.anyio.current_time", lambda: now[0])
    pool = FarPool(reason=reason)
    pool.go.set()
    async with importing(pool) as (imports, _):
        for begun, pause in enumerate(pauses, 1):
            with pytest.raises(EffectUnderway):
                await imports.make(URL)
            await anyio.wait_all_tasks_blocked()
            now[0] += pause - 1
            with pytest.raises(EffectFailed, match="did not come"):
                await imports.make(URL)
            assert pool.begun == begun
            now[0] += 2
        imports.keep({})
        with pytest.raises(EffectUnderway):  # one that was wanted anew begins at once
            await imports.make(URL)


@pytest.mark.parametrize(
    "wanted", [{}, {"win11": Golden("win11", "other.raw")}, {"win11": Golden("win11", "win11.raw", paused=True)}]
)
async def test_one_that_nobody_wants_any_more_is_cut_off(wanted: dict[str, Golden]) -> None:
    pool = SlowPool(sources={"win11.raw": (bytes(512), 1)})
    async with importing(pool) as (imports, _):
        await underway(imports)
        imports.keep({"win11": WIN})
        await anyio.wait_all_tasks_blocked()
        assert pool.cut == 0
        imports.keep(wanted)
        await anyio.wait_all_tasks_blocked()
        assert (pool.cut, pool.images) == (1, {})
