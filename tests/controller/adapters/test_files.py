"""Files are replaced whole or not at all, and links are never followed."""

import os
import resource
import stat
from pathlib import Path

import pytest

from controller.adapters import files


def test_replacing_a_file_gives_exactly_the_new_bytes_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_bytes(b"a long old content")
    old = os.umask(0o077)
    try:
        files.replace(path, b"new", 0o640)
    finally:
        os.umask(old)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_replaced_file_leaves_nothing_else_in_the_folder(tmp_path: Path) -> None:
    files.replace(tmp_path / "x", b"1")
    files.replace(tmp_path / "x", b"2" * (3 << 20))
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").stat().st_size == 3 << 20


def test_an_open_reader_of_the_old_file_keeps_the_old_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        files.replace(path, b"new")
        assert reader.read() == b"old"


def test_a_symlink_in_the_way_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    link = tmp_path / "link"
    link.symlink_to(victim)
    files.replace(link, b"ours")
    assert victim.read_bytes() == b"precious"
    assert not link.is_symlink()
    assert link.read_bytes() == b"ours"


def test_a_failed_replacement_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError, match="directory"):
        files.replace(folder, b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_write_that_breaks_half_way_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.replace(path, b"n" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_removing_an_absent_file_is_fine(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    files.remove(tmp_path / "x")
    files.remove(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_removing_a_symlink_spares_its_target(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    files.remove(tmp_path / "link")
    assert [p.name for p in tmp_path.iterdir()] == ["victim"]


def test_a_durable_rename_moves_over_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "temp").write_bytes(b"new")
    (tmp_path / "final").write_bytes(b"old")
    files.rename_durably(tmp_path / "sub" / "temp", tmp_path / "final")
    assert (tmp_path / "final").read_bytes() == b"new"
    assert list((tmp_path / "sub").iterdir()) == []


@pytest.mark.parametrize("kind", ["symlink", "folder", "fifo", "device"])
def test_only_plain_files_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    match kind:
        case "symlink":
            (tmp_path / "real").write_bytes(b"secret")
            path.symlink_to(tmp_path / "real")
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case _:
            path = Path("/dev/zero")
    with pytest.raises(OSError, match=r"plain file|symbolic links|Is a directory"):
        files.read(path, 1000)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert files.read(tmp_path / "x", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        files.read(tmp_path / "x", 4)
