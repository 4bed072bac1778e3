"""The pool's own guards of a version, each where the others would not see what is going on; and what is left by a death."""

import threading
import time
from pathlib import Path

import pytest

from controller.adapters import loops
from controller.adapters.pool import PoolDir
from controller.adapters.pool_room import Room
from controller.adapters.pool_uses import Uses, unopened
from controller.core.desired import Golden
from controller.core.steps import DeleteVersion, ImportImage, NoteUse
from controller.ports.host import EffectFailed
from tests.contracts.pool_bench import SetClock, disk, why_no_mount

pytestmark = pytest.mark.anyio
DELETE = DeleteVersion("win11", 1)


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    """A pool with one version."""
    (tmp_path / "imports").mkdir()
    (tmp_path / "imports/win11.raw").write_bytes(disk(1))
    await process(tmp_path).import_image(ImportImage("win11", 1, "win11.raw"))
    return tmp_path


def process(root: Path) -> PoolDir:
    return PoolDir(root, root / "imports", reserve=0.0, clock=SetClock())


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "images").iterdir())


async def test_a_version_stays_while_a_disk_is_made_of_it_that_has_neither_a_name_nor_its_image_open(root: Path) -> None:
    uses = Uses(Room(root, 0.0), SetClock())
    with uses.using("win11", 1):
        with pytest.raises(EffectFailed, match="is being made of it") as failed:
            uses.delete(DELETE)
        with uses.using("win11", 1):  # several at once are counted
            pass
        with pytest.raises(EffectFailed, match="is being made of it"):
            uses.delete(DELETE)
    assert failed.value.reason == "InUse"
    assert uses.delete(DELETE) > 0


@pytest.mark.skipif(why_no_mount() is not None, reason=str(why_no_mount()))
async def test_a_version_stays_while_a_loop_device_stands_on_it(root: Path) -> None:
    with (root / "images/win11@v1.raw").open("rb") as file, loops.attached(file.fileno(), "ggnet test", readonly=True):
        file.close()
        with pytest.raises(EffectFailed, match="is open"):
            await process(root).delete_version(DELETE)
    assert await process(root).delete_version(DELETE) > 0


async def test_who_opens_a_version_in_the_moment_it_is_looked_at_ends_no_process(root: Path) -> None:
    """The kernel tells the holder of a lease by a signal, whose usual effect is the end of the process."""
    golden, over = root / "images/win11@v1.raw", threading.Event()
    outcomes: set[object] = set()

    def read() -> None:
        while not over.is_set():
            assert golden.read_bytes() == disk(1)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        until, turns = time.monotonic() + 30, 0
        while (turns < 2000 or len(outcomes) < 2) and time.monotonic() < until:  # each may be too quick for the other
            turns += 1
            try:
                outcomes.add(unopened(golden) > 0)
            except EffectFailed as failed:
                outcomes.add(failed.reason)
    finally:
        over.set()
        reader.join()
    assert outcomes == {True, "InUse"}


async def test_a_sidecar_or_a_file_that_is_alone_is_nobody_s_and_stays(root: Path) -> None:
    (root / "images/win11@v7.json").write_text("{}")
    (root / "images/win11@v8.raw").write_bytes(disk(8))
    await process(root).note_use(NoteUse("win11", 1))
    assert names(root) == ["win11@v1.json", "win11@v1.raw", "win11@v7.json", "win11@v8.raw"]
    view = await process(root).observe([Golden("win11", "win11.raw")])
    assert set(view.state.images["win11"]) == {1}


async def test_a_version_whose_file_alone_was_renamed_when_the_process_died_is_swept_with_its_sidecar(root: Path) -> None:
    (root / "images/win11@v1.raw").rename(root / "images/.win11@v1.raw.0123456789ab.tmp")
    after = process(root)
    assert (await after.observe([])).state.images == {}
    await after.note_use(NoteUse("win11", 1))
    assert names(root) == []
