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


@pytest.fixture(params=["read where it lies", "fetched"])
def work(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    elsewhere = [f"--separate-git-dir={tmp_path / 'apart'}"] if request.param == "fetched" else []
    git(folder, "init", "-q", "-b", "main", *elsewhere)
    return folder


plain = pytest.mark.parametrize("work", ["read where it lies"], indirect=True)


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
        path = Path(git(work, "rev-parse", "--absolute-git-dir").strip(), "objects", blob[:2], blob[2:])
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:5])
    with pytest.raises(SourceError):
        anyio.run(source(tmp_path, address).read)


@pytest.mark.parametrize("work", ["fetched"], indirect=True)
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


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
@pytest.mark.parametrize("ref", ["HEAD", "main", "refs/heads/main", "v1", "note"])
def test_every_name_of_a_commit_leads_to_it_loose_and_packed(tmp_path: Path, work: Path, ref: str, packed: bool) -> None:
    sha = commit(work, {"a.yaml": "a: 1\n"})
    git(work, "tag", "v1")
    git(work, "tag", "--annotate", "--message=a note", "note")
    if packed:
        git(work, "gc", "--quiet")
        git(work, "pack-refs", "--all")
    reader = source(tmp_path, f"{work}#{ref}")
    assert anyio.run(reader.read).sha == sha
    assert anyio.run(reader.read).files == {"a.yaml": b"a: 1\n"}


@plain
def test_nothing_that_a_repository_here_configures_is_run(tmp_path: Path, work: Path) -> None:
    commit(work, {"a.yaml": "a: 1\n", "b.yaml": "b: 1\n"})
    said = tmp_path / "said"
    evil = f"sh -c 'touch {said}'"
    for key in ("core.fsmonitor", "core.sshCommand", "gpg.program", "core.pager", "remote.origin.uploadpack"):
        git(work, "config", key, evil)
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"file://{tmp_path}",
        "log.showSignature": "true",
    }.items():
        git(work, "config", key, value)
    assert set(anyio.run(source(tmp_path, str(work)).read).files) == {"a.yaml", "b.yaml"}
    blob = git(work, "rev-parse", "HEAD:a.yaml").strip()
    (work / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(SourceError, match=r"work"):
        anyio.run(source(tmp_path, str(work)).read)
    assert not said.exists()


@pytest.mark.parametrize("link", ["ref: ../../secret", "ref: refs/heads/none", "/etc/hostname", ""])
def test_a_head_that_leads_nowhere_is_an_error(tmp_path: Path, work: Path, link: str) -> None:
    commit(work, {"a.yaml": "a: 1\n"})
    home = Path(git(work, "rev-parse", "--absolute-git-dir").strip())
    (home.parent / "secret").write_text("0" * 40)
    (home / "HEAD").write_text(f"{link}\n")
    with pytest.raises(SourceError):
        anyio.run(source(tmp_path, str(work)).read)


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


@plain
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


@plain
def test_a_commit_wakes_the_reader_of_a_local_repository(tmp_path: Path, work: Path) -> None:
    commit(work, {"a.yaml": "a: 1\n"})

    def touch() -> None:
        commit(work, {"a.yaml": "a: 2\n"})

    assert _waking(lambda: GitSource(GitAddress.parse(str(work)), tmp_path / "state", 60), touch) >= 2
