"""What only real files can show: links, devices, half-written files, permissions."""

import os
import stat
import subprocess
from pathlib import Path

import anyio
import pytest

from controller.adapters.tftp import TftpTree
from controller.core.names import script
from controller.core.render import ipxe
from controller.core.steps import DeleteBootFile, WriteBootFile
from controller.ports.host import EffectFailed, EffectRefused, TftpState
from tests.contracts.tftp_rigs import PROGRAMS, SITE

PC07 = script("52-54-00-00-00-07")
TEXT = ipxe.machine_script(SITE, "pc07", SITE.initiator("pc07"), "10.77.0.1:3260", SITE.target("pc07"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "nbps").mkdir()
    for name, data in PROGRAMS.items():
        (tmp_path / "nbps" / name).write_bytes(data)
    (tmp_path / "tftp").mkdir()
    return tmp_path / "tftp"


def tree(root: Path) -> TftpTree:
    return TftpTree(root, root.with_name("nbps"), SITE)


def write(root: Path, path: str = PC07) -> None:
    anyio.run(tree(root).write, WriteBootFile(path, TEXT))


def look(root: Path, *paths: str) -> TftpState:
    return anyio.run(tree(root).observe, paths or None)


def test_files_and_folders_can_be_read_by_the_servers_user_whatever_our_umask(root: Path) -> None:
    old = os.umask(0o077)
    try:
        write(root)
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / PC07).stat().st_mode) == 0o644
    assert {stat.S_IMODE((root / folder).stat().st_mode) for folder in ("ggnet", "ggnet/machines")} == {0o755}


def test_a_link_in_the_place_of_a_script_is_told_and_replaced_and_its_target_left_alone(root: Path) -> None:
    victim = root / "victim"
    victim.write_text(TEXT)
    (root / PC07).parent.mkdir(parents=True)
    (root / PC07).symlink_to(victim)
    for state in (look(root), look(root, PC07)):
        assert (state.files[PC07].sha256, state.files[PC07].ours) == ("symbolic link", False)
        assert state.foreign == (PC07,)
    with pytest.raises(EffectRefused, match="mark"):
        anyio.run(tree(root).delete, DeleteBootFile(PC07))
    victim.write_text("precious")
    write(root)
    assert victim.read_text() == "precious"
    assert not (root / PC07).is_symlink()
    assert (root / PC07).read_text() == TEXT


@pytest.mark.parametrize("folder", ["ggnet", "ggnet/machines"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
def test_a_folder_of_ours_that_is_none_is_unreadable_and_never_written_through(root: Path, folder: str, kind: str) -> None:
    elsewhere = root.with_name("elsewhere")
    elsewhere.mkdir()
    (root / folder).parent.mkdir(exist_ok=True)
    match kind:
        case "link":
            (root / folder).symlink_to(elsewhere)
        case "dangling link":
            (root / folder).symlink_to(root / "nowhere")
        case _:
            (root / folder).write_text("")
    assert f"{root / folder} is not a folder" in look(root).unreadable["tftp"]
    assert "remove it" in look(root, PC07).unreadable["tftp"]
    with pytest.raises(EffectRefused, match="is not a folder"):
        write(root)
    with pytest.raises(EffectRefused, match="is not a folder"):
        anyio.run(tree(root).delete, DeleteBootFile(PC07))
    assert list(elsewhere.iterdir()) == []


def test_a_folder_in_the_place_of_a_script_is_told_and_refused(root: Path) -> None:
    (root / PC07).mkdir(parents=True)
    assert look(root).files[PC07].sha256 == "folder"
    with pytest.raises(EffectRefused, match="is a folder: remove it"):
        write(root)
    assert list((root / PC07).parent.iterdir()) == [root / PC07]


def test_a_pipe_in_the_place_of_a_script_hangs_nobody_and_is_replaced(root: Path) -> None:
    (root / PC07).parent.mkdir(parents=True)
    os.mkfifo(root / PC07)
    assert look(root).files[PC07].sha256 == "device"
    write(root)
    assert look(root).files[PC07].ours


def test_foreign_files_and_folders_are_told_and_not_entered(root: Path) -> None:
    write(root)
    (root / "ggnet" / "theirs").mkdir()
    (root / "ggnet" / "theirs" / "x").write_text("x")
    (root / "ggnet" / "machines" / "notes").write_text("x")
    (root / "outside").write_text("x")
    assert look(root).foreign == ("ggnet/theirs", "ggnet/machines/notes")


def test_a_huge_file_is_not_read(root: Path) -> None:
    write(root)
    os.truncate(root / PC07, 1 << 40)
    assert "larger than" in look(root).unreadable[PC07]
    write(root)
    assert look(root).files[PC07].ours


def test_the_same_write_again_touches_nothing(root: Path) -> None:
    def written() -> tuple[int, int, int]:
        """What a write would change; reading a file moves its time of access."""
        found = (root / PC07).stat()
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns

    write(root)
    before = written()
    write(root)
    assert written() == before


def test_a_right_file_that_the_server_may_not_read_is_made_readable(root: Path) -> None:
    write(root)
    (root / PC07).chmod(0o600)
    write(root)
    assert stat.S_IMODE((root / PC07).stat().st_mode) == 0o644


def test_what_a_killed_predecessor_left_half_written_is_tidied_away_and_nothing_else(root: Path) -> None:
    write(root)
    folder = (root / PC07).parent
    (folder / ".52-54-00-00-00-09.ipxe.0123456789ab.tmp").write_text("#!ip")
    (folder / ".theirs.0123456789ab.tmp").write_text("x")
    write(root)
    assert sorted(path.name for path in folder.iterdir()) == [".theirs.0123456789ab.tmp", "52-54-00-00-00-07.ipxe"]


def test_a_read_only_tree_fails_and_says_so(root: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(root)], check=True)
    try:
        with pytest.raises(EffectFailed, match=rf"{PC07} cannot be written: Read-only file system"):
            write(root)
    finally:
        subprocess.run(["umount", str(root)], check=True)


def test_a_program_that_is_replaced_by_an_upgrade_has_another_digest(root: Path) -> None:
    known = tree(root)
    first = anyio.run(known.observe, None).nbps
    assert anyio.run(known.observe, None).nbps == first
    (root.with_name("nbps") / "ipxe.efi").write_bytes(b"newer")
    (root.with_name("nbps") / "undionly.kpxe").unlink()
    second = anyio.run(known.observe, None).nbps
    assert set(second) == {"ipxe.efi"}
    assert second["ipxe.efi"] != first["ipxe.efi"]
