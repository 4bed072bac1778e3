"""P4 for the pool on real files: a process that dies at any call leaves no half image, and the next one nothing too much."""

import hashlib
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from controller.adapters import files
from controller.adapters.pool import PoolDir
from controller.adapters.pool_images import Images
from controller.adapters.pool_room import entries, finish, is_temp
from controller.adapters.pool_sidecar import sidecar, vouch
from controller.adapters.pool_uses import Uses
from controller.core import names
from controller.core.observed import ImageFile, PoolState
from controller.core.steps import (
    CommitOverlay,
    CreateOverlay,
    DeleteOverlay,
    DeleteVersion,
    ImportImage,
    NoteUse,
    ReleaseVersion,
)
from tests.contracts.pool_bench import SetClock, disk, overlay_name
from tests.controller.adapters.images.disks import QEMU, raw_disk
from tests.crash.death import dying
from tests.crash.faults import Crash

Act = Callable[[PoolDir], Awaitable[object]]
FIRST, SECOND = ImportImage("win11", 1, "win11.raw"), ImportImage("win11", 2, "next.raw")
SIZE = len(disk(1))


@dataclass(frozen=True)
class Story:
    """``before`` was done by a process that ended well; ``act`` is done by one that dies, and again by the next."""

    act: Act
    before: tuple[Act, ...] = ()
    versions: tuple[int, ...] = (1,)
    disks: int = 0


def importing(action: ImportImage) -> Act:
    return lambda pool: pool.import_image(action)


def cloning(pool: PoolDir) -> Awaitable[object]:
    return pool.create_overlay(CreateOverlay(overlay_name(), SIZE))


def dropping(pool: PoolDir) -> Awaitable[object]:
    return pool.delete_overlay(DeleteOverlay(overlay_name()))


def committing(pool: PoolDir) -> Awaitable[object]:
    return pool.commit_overlay(CommitOverlay(overlay_name(), 2, "commit one", "pc1"))


def collecting(pool: PoolDir) -> Awaitable[object]:
    return pool.delete_version(DeleteVersion("win11", 1))


def noting(pool: PoolDir) -> Awaitable[object]:
    return pool.note_use(NoteUse("win11", 1))


def releasing(pool: PoolDir) -> Awaitable[object]:
    return pool.release_version(ReleaseVersion("win11", 1, 30_000))


ONE, BOTH = (importing(FIRST),), (importing(FIRST), importing(SECOND))
STORIES = {
    "import": Story(importing(FIRST)),
    "import a second": Story(importing(SECOND), ONE, (1, 2)),
    "import the same again": Story(importing(replace(FIRST, version=2, source="touched.raw")), ONE),
    "clone": Story(cloning, ONE, disks=1),
    "drop a disk": Story(dropping, (*ONE, cloning)),
    "commit": Story(committing, (*ONE, cloning), (1, 2), disks=1),
    "collect": Story(collecting, BOTH, (2,)),
    "note a use": Story(noting, ONE),
    "note that the image was deleted": Story(releasing, ONE),
}
CONVERT = Story(importing(replace(FIRST, source="win11.qcow2")))


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    imports = tmp_path_factory.mktemp("imports")
    for name, seed in (("win11.raw", 1), ("touched.raw", 1), ("next.raw", 2)):
        (imports / name).write_bytes(disk(seed))
    if shutil.which("qemu-img"):
        raw = raw_disk(imports / "disk.raw", 8 << 20)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, imports / "win11.qcow2"], check=True)
    return imports


def process(root: Path, imports: Path, days: int = 2) -> PoolDir:
    clock = SetClock()
    clock.later(days=days)
    return PoolDir(root, imports, reserve=0.0, clock=clock)


async def seen(pool: PoolDir) -> PoolState:
    view = await pool.observe([])
    assert dict(view.unreadable) == {}
    return view.state


def halves(root: Path, state: PoolState) -> list[str]:
    """What is told to be there and is not whole."""
    found = []
    for image, versions in state.images.items():
        for version, told in versions.items():
            content = Path(names.golden_path(str(root), image, version)).read_bytes()
            if hashlib.sha256(content).hexdigest() != told.sha256:
                found.append(f"{image}@v{version} is not what its sidecar says")
    different = (name for name in state.overlays if (root / "overlays" / name).read_bytes() != disk(1))
    return [*found, *(f"{name} is not its image" for name in different)]


def leaks(root: Path, state: PoolState) -> list[str]:
    """What lies in the pool's folders beside what is told to be there."""
    goldens = {names.golden(image, v) for image, versions in state.images.items() for v in versions}
    known = {*goldens, *map(sidecar, goldens), *state.overlays}
    folders = (root / "images", root / "overlays")
    return sorted({path.name for folder in folders if folder.is_dir() for path in folder.iterdir()} ^ known)


async def die_at(root: Path, imports: Path, story: Story, at: int) -> tuple[list[str], bool]:
    """What is wrong after a death at that call, and whether it came to that."""
    root.mkdir()
    for act in story.before:
        await act(process(root, imports, days=0))
    with dying(root, at) as death:
        try:
            await story.act(process(root, imports))
        except Crash:
            assert death.dead
    after = process(root, imports)
    found = halves(root, await seen(after))
    await after.note_use(NoteUse("another", 1))  # the first act of a process sweeps
    found += leaks(root, await seen(after))
    await story.act(after)
    state = await seen(after)
    found += [*halves(root, state), *leaks(root, state)]
    ends = (tuple(state.images.get("win11", {})), len(state.overlays))
    if ends != (story.versions, story.disks):
        found.append(f"it came to {ends}")
    return [f"dead at {at} ({death.calls[-1]}): {what}" for what in found], death.dead


async def explore(folder: Path, imports: Path, story: Story, every: int = 1) -> list[str]:
    failures: list[str] = []
    for at in range(1, 60, every):
        found, came = await die_at(folder / str(at), imports, story, at)
        failures += found
        if not came:
            assert at > 1, "the hook must be in the way of every call"
            return failures
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("name", STORIES)
def test_a_death_at_any_call_leaves_no_half_image_and_nothing_too_much(name: str, tmp_path: Path, imports: Path) -> None:
    assert anyio.run(explore, tmp_path, imports, STORIES[name]) == []


@QEMU
def test_a_death_at_any_call_of_a_conversion_leaves_no_half_image(tmp_path: Path, imports: Path) -> None:
    assert anyio.run(explore, tmp_path, imports, CONVERT, 4) == []


# --- it would be noticed ------------------------------------------------------------------------------------------


def _bytes_first(uses: Uses, action: DeleteVersion) -> int:
    golden = uses._images / names.golden(action.image, action.version)
    files.remove(golden)
    files.remove(uses._images / sidecar(golden.name))
    return 0


def _sidecar_first(uses: Uses, action: DeleteVersion) -> int:
    golden = uses._images / names.golden(action.image, action.version)
    files.remove(uses._images / sidecar(golden.name))
    files.remove(golden)
    return 0


def _temps_only(uses: Uses) -> None:
    for temp in filter(is_temp, entries(uses._images)):
        files.remove(uses._images / temp)


def _unvouched(images: Images, version: ImageFile, image: str, path: Path, made: int, method: str) -> None:
    finish(path, made, images._folder / names.golden(image, version.version), 0o440, method)
    vouch(images._folder, version, image, version.stamp, version.identity)


SEEDED: dict[str, tuple[type, str, object, str]] = {
    "the bytes go first": (Uses, "delete", _bytes_first, "collect"),
    "the sidecar goes first": (Uses, "delete", _sidecar_first, "collect"),
    "a sidecar is not swept with its file": (Uses, "sweep", _temps_only, "collect"),
    "nor is that of an import": (Uses, "sweep", _temps_only, "import"),
    "the name comes before the sidecar": (Images, "_publish", _unvouched, "import"),
    "a sidecar is not swept with its commit": (Uses, "sweep", _temps_only, "commit"),
    "a commit has its name before its sidecar": (Images, "_publish", _unvouched, "commit"),
}


@pytest.mark.parametrize("bug", SEEDED)
def test_a_bug_of_the_pool_is_caught(bug: str, tmp_path: Path, imports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, wrong, story = SEEDED[bug]
    monkeypatch.setattr(where, name, wrong)

    assert anyio.run(explore, tmp_path, imports, STORIES[story]) != []
