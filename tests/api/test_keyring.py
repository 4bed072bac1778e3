"""The files that sign: the newest signs, all verify, and nobody but the daemon reads them."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.auth.access import AccessTokens, Refused
from api.auth.keys import Keyring
from api.token import TokenError
from tests.api.people import login, user
from tests.api.served import Served

HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def ring(folder: Path) -> Keyring:
    made = Keyring(folder, HOUR)
    made.ensure(now())
    return made


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = ring(tmp_path).signing()
    assert ring(tmp_path).signing() == first
    assert len(first.secret) == 32
    assert first.secret.hex() not in repr(first)
    (file,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_after_a_rotation_the_new_key_signs_and_the_old_one_verifies(tmp_path: Path) -> None:
    daemon, command = ring(tmp_path), ring(tmp_path)
    old = daemon.signing()
    id = command.rotate(now())
    assert daemon.verifying(id, now()) is not None
    assert daemon.signing().id == id
    assert daemon.verifying(old.id, now()) == old
    assert daemon.verifying(old.id, now() + 2 * HOUR) is None
    assert daemon.verifying(id, now() + 100 * HOUR) is not None


def test_a_key_that_nothing_needs_goes_with_the_next_rotation(tmp_path: Path) -> None:
    daemon = ring(tmp_path)
    old = daemon.signing().id
    second = daemon.rotate(now())
    third = daemon.rotate(now() + HOUR / 2)
    fourth = daemon.rotate(now() + 1.2 * HOUR)
    daemon.reload()
    kept = [name for name in (old, second, third, fourth) if (tmp_path / "keys" / f"{name}.key").exists()]
    assert kept == [second, third, fourth]


def test_a_clock_that_was_set_back_does_not_make_the_new_key_an_old_one(tmp_path: Path) -> None:
    daemon = ring(tmp_path)
    assert daemon.rotate(now() - 48 * HOUR) == daemon.signing().id


def test_what_a_removed_key_signed_is_refused(tmp_path: Path) -> None:
    daemon = ring(tmp_path)
    tokens = AccessTokens(daemon, "ggnet:test", HOUR)
    token, stolen = tokens.issue("ada", "u1", "f1", now()), daemon.signing().id
    assert tokens.verify(token, now()).uid == "u1"
    daemon.rotate(now())
    assert tokens.verify(token, now()).uid == "u1"
    (tmp_path / "keys" / f"{stolen}.key").unlink()
    assert daemon.reload()
    with pytest.raises(Refused):
        tokens.verify(token, now())


@pytest.mark.parametrize("content", [b"", b"short", b"!" * 44, b"A" * 100_000, b"\xff" * 44])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    ring(tmp_path)
    (file,) = (tmp_path / "keys").iterdir()
    file.write_bytes(content)
    with pytest.raises(TokenError, match="holds no key"):
        ring(tmp_path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    ring(tmp_path)
    (file,) = (tmp_path / "keys").iterdir()
    file.chmod(0o640)
    with pytest.raises(TokenError, match="read by others"):
        ring(tmp_path)


def test_strange_files_beside_the_keys_are_let_alone(tmp_path: Path) -> None:
    first = ring(tmp_path).signing()
    for name in (".20260101T000000000000-00000000", "notes.key", "99999999T999999999999-zz.key", "x"):
        (tmp_path / "keys" / name).write_text("no key")
    assert ring(tmp_path).signing() == first
    link = tmp_path / "keys" / "20990101T000000000000-00000000.key"
    link.symlink_to(tmp_path / "keys" / f"{first.id}.key")
    with pytest.raises(TokenError, match="cannot be read"):
        ring(tmp_path)


def test_a_rotation_logs_nobody_out_and_needs_no_restart(door: Served) -> None:
    user(door)
    before = login(door)
    done = door.ggnet("token", "rotate-key")
    assert done.returncode == 0, done.stderr
    after = login(door)
    assert (before.status(), after.status()) == (200, 200)
    assert len(list((door.folder / "keys").glob("*.key"))) == 2
    assert before.access.partition(".")[0] != after.access.partition(".")[0]  # the header names the key
