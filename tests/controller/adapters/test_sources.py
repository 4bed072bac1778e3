"""Sources are read whole or not at all, from real git repositories and real folders."""

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from controller.adapters.command import run
from controller.adapters.folder import FolderSource
from controller.adapters.git import GitAddress, GitSource, is_repository, masked
from controller.ports.sources import Source, SourceError
from manifests.load import MAX_FILE_BYTES

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.net",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.net",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


def git(folder: Path, *words: str) -> str:
    async def work() -> str:
        done = await run(["git", "-C", folder, *words], timeout=30, env=IDENTITY)
        return done.check().text

    return anyio.run(work)


def commit(work: Path, files: dict[str, str], message: str = "change") -> str:
    for name, text in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", message)
    return git(work, "rev-parse", "HEAD").strip()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    return folder


def source(tmp_path: Path, text: str) -> GitSource:
    return GitSource(GitAddress.parse(text), tmp_path / "state", 0.1)


def test_a_commit_is_read_with_its_sha_author_and_message(tmp_path: Path, work: Path) -> None:
    sha = commit(work, {"site/a.yaml": "a: 1\n", "notes.txt": "no manifest"}, "Add the first machine")
    snapshot = anyio.run(source(tmp_path, str(work)).read)
    assert (snapshot.sha, snapshot.author, snapshot.message) == (sha, "Ada <ada@example.net>", "Add the first machine")
    assert snapshot.files == {"site/a.yaml": b"a: 1\n"}


def test_only_the_named_folder_of_the_named_ref_is_read(tmp_path: Path, work: Path) -> None:
    commit(work, {"site/a.yaml": "a: 1\n", "other/b.yaml": "b: 1\n"})
    git(work, "branch", "live")
    commit(work, {"site/a.yaml": "a: 2\n"})
    snapshot = anyio.run(source(tmp_path, f"{work}#live:site").read)
    assert snapshot.files == {"site/a.yaml": b"a: 1\n"}


def test_a_bare_repository_follows_a_push_and_a_rewritten_history(tmp_path: Path, work: Path) -> None:
    bare = tmp_path / "bare.git"
    commit(work, {"a.yaml": "a: 1\n"})
    git(tmp_path, "clone", "-q", "--bare", str(work), str(bare))
    reader = source(tmp_path, str(bare))
    assert anyio.run(reader.read).files == {"a.yaml": b"a: 1\n"}
    git(work, "commit", "-q", "--amend", "-m", "rewritten")
    (work / "a.yaml").write_text("a: 3\n")
    git(work, "commit", "-q", "-a", "--amend", "-m", "rewritten")
    git(work, "push", "-q", "--force", str(bare), "main")
    assert anyio.run(reader.read).files == {"a.yaml": b"a: 3\n"}


@pytest.mark.parametrize("damage", ["gone", "empty folder", "no such ref", "no such sub-folder", "object cut short"])
def test_a_repository_that_cannot_be_read_whole_is_an_error_not_an_empty_set(
    tmp_path: Path, work: Path, damage: str
) -> None:
    commit(work, {"a.yaml": "a: 1\n"})
    address = str(work)
    if damage == "gone":
        work.rename(tmp_path / "elsewhere")
    elif damage == "empty folder":
        address = str(tmp_path / "nothing")
        (tmp_path / "nothing").mkdir()
    elif damage == "no such ref":
        address += "#release"
    elif damage == "no such sub-folder":
        address += "#main:sites/north"
    else:
        blob = git(work, "rev-parse", "HEAD:a.yaml").strip()
        path = work / ".git/objects" / blob[:2] / blob[2:]
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:5])
    with pytest.raises(SourceError):
        anyio.run(source(tmp_path, address).read)


def test_what_a_killed_git_left_behind_is_in_nobodys_way(tmp_path: Path, work: Path) -> None:
    commit(work, {"a.yaml": "a: 1\n"})
    anyio.run(source(tmp_path, str(work)).read)
    [mirror] = (tmp_path / "state/sources").iterdir()
    (mirror / "shallow.lock").touch()
    commit(work, {"a.yaml": "a: 2\n"})
    restarted = source(tmp_path, str(work))
    assert anyio.run(restarted.read).files == {"a.yaml": b"a: 2\n"}
    (mirror / "shallow.lock").touch()
    commit(work, {"a.yaml": "a: 3\n"})
    with pytest.raises(SourceError):
        anyio.run(restarted.read)
    assert anyio.run(restarted.read).files == {"a.yaml": b"a: 3\n"}


def test_symlinks_in_a_commit_are_refused_by_name(tmp_path: Path, work: Path) -> None:
    (work / "passwd.yaml").symlink_to("/etc/passwd")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "link")
    with pytest.raises(SourceError, match=r"passwd\.yaml.*symlink"):
        anyio.run(source(tmp_path, str(work)).read)


def test_a_file_larger_than_a_manifest_may_be_is_refused_before_it_is_read(tmp_path: Path, work: Path) -> None:
    commit(work, {"big.yaml": "#" * (MAX_FILE_BYTES + 1)})
    with pytest.raises(SourceError, match=r"big\.yaml.*bytes"):
        anyio.run(source(tmp_path, str(work)).read)


@pytest.mark.parametrize("text", ["--upload-pack=evil", "repo#--output=x", "repo#a b", "repo#main:../.."])
def test_an_address_cannot_smuggle_an_option_or_leave_the_tree(text: str) -> None:
    with pytest.raises(ValueError, match="GGNET_MANIFESTS"):
        GitAddress.parse(text)


def test_a_password_in_a_url_is_never_shown(tmp_path: Path) -> None:
    address = "https://bot:secret@git.example.net/site.git"
    assert "secret" not in masked(address)
    assert "secret" not in source(tmp_path, address).name


def test_a_repository_is_told_from_a_folder(tmp_path: Path, work: Path) -> None:
    assert is_repository(work)
    assert not is_repository(tmp_path)


def test_a_folder_is_read_with_a_digest_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1\n")
    (tmp_path / ".hidden.yaml").write_text("no")
    first = anyio.run(FolderSource(tmp_path, 1).read)
    assert first.files == {"a.yaml": b"a: 1\n"}
    (tmp_path / "a.yaml").write_text("a: 2\n")
    assert anyio.run(FolderSource(tmp_path, 1).read).sha != first.sha


@pytest.mark.parametrize("damage", ["gone", "link", "fifo"])
def test_a_folder_that_cannot_be_read_whole_is_an_error(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    if damage == "gone":
        folder.rmdir()
    elif damage == "link":
        (folder / "a.yaml").symlink_to("/etc/hostname")
    else:
        os.mkfifo(folder / "a.yaml")
    with pytest.raises(SourceError):
        anyio.run(FolderSource(folder, 1).read)


def _waking(make: Callable[[], Source], touch: Callable[[], None]) -> int:
    """How often a source woke its reader: at once, and after a change well before the next poll."""
    wakes = 0

    async def watch() -> None:
        nonlocal wakes
        seen = anyio.Event()

        def wake() -> None:
            nonlocal wakes
            wakes += 1
            if wakes == 2:
                seen.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(make().watch, wake)
            await anyio.sleep(0.5)
            await anyio.to_thread.run_sync(touch)
            with anyio.move_on_after(5):
                await seen.wait()
            tasks.cancel_scope.cancel()

    anyio.run(watch)
    return wakes


def test_a_changed_file_wakes_the_reader_of_a_folder(tmp_path: Path) -> None:
    def touch() -> None:
        (tmp_path / "a.yaml").write_text("a: 2\n")

    assert _waking(lambda: FolderSource(tmp_path, 60), touch) == 2


def test_a_commit_wakes_the_reader_of_a_local_repository(tmp_path: Path, work: Path) -> None:
    commit(work, {"a.yaml": "a: 1\n"})

    def touch() -> None:
        commit(work, {"a.yaml": "a: 2\n"})

    assert _waking(lambda: GitSource(GitAddress.parse(str(work)), tmp_path / "state", 60), touch) >= 2
