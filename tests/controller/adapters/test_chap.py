"""Secrets from files: what may stand there, who may read it, and that no value is ever repeated."""

import os
from pathlib import Path

import pytest

from controller.adapters.chap import Secret, SecretFiles, Unusable, installation_key

GOOD = "username=pc07\npassword=Secret-of.pc_07:\n"
MUTUAL = f"# its disk\n\n{GOOD}mutual-username = the.disk\nmutual-password=Another.secret-1\n"


def kept(folder: Path, text: str, mode: int = 0o600) -> SecretFiles:
    (folder / "pc07").write_text(text)
    (folder / "pc07").chmod(mode)
    return SecretFiles(b"key", folder)


def test_a_file_says_one_way_or_mutual_secrets(tmp_path: Path) -> None:
    assert kept(tmp_path, GOOD).read("pc07").values == ("pc07", "Secret-of.pc_07:", "", "")
    assert kept(tmp_path, MUTUAL).read("pc07").values == ("pc07", "Secret-of.pc_07:", "the.disk", "Another.secret-1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "username is missing"),
        ("username=pc07\n", "password is missing"),
        (GOOD + "mutual-username=disk\n", "mutual-password is missing"),
        (GOOD + "mutual-password=hushhushhush\n", "mutual-username is missing"),
        (GOOD + "mutual-username=disk\nmutual-password=Secret-of.pc_07:\n", "the same"),
        ("username=pc07\npassword=hushhushhus\n", "password has 11 characters"),
        ("username=pc07\npassword=hushhushhushhush1\n", "password has 17 characters"),
        ("username=pc07\npassword=hush${mac}hush\n", "password is letters, digits"),
        ("username=pc07\npassword=hush hush hush\n", "password is letters, digits"),
        ("username=pc07\npassword=-hushhushhush\n", "password is letters, digits"),
        ("username=pc07\npassword=NULLhushhush\n", "password is letters, digits"),
        (f"username={'h' * 64}\npassword=hushhushhush\n", "username has 64 characters"),
        ("username=pc07:hushhushhush\n", "password is missing"),
        ("pc07:hushhushhush\n", "line 1 is not one of username=..."),
        (GOOD + "passphrase=hushhushhush\n", "line 3 is not one of"),
        (GOOD + "password=hushhushhush\n", "line 3 gives password a second time"),
        ("username=pc07\npassword=hüshhüshhüsh\n", "else than ASCII"),
        ("username=pc07\x00\npassword=hushhushhush\n", "username is letters"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_file_and_no_value_is_repeated(tmp_path: Path, text: str, told: str) -> None:
    files = kept(tmp_path, text)
    with pytest.raises(Unusable, match=told.replace("(", r"\(").replace("...", r"\.\.\.")) as refused:
        files.read("pc07")
    problem = files.states(["pc07"])["pc07"].problem
    assert problem == str(refused.value)
    assert problem.startswith(f"{tmp_path / 'pc07'}: ")
    assert "hush" not in problem.replace("is missing: add a line", "")
    assert "Secret-of" not in problem
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_may_use_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    with pytest.raises(Unusable, match=f"chmod 600 {tmp_path}/pc07"):
        kept(tmp_path, GOOD, mode).read("pc07")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_refused_with_the_remedy(tmp_path: Path) -> None:
    files = kept(tmp_path, GOOD)
    os.chown(tmp_path / "pc07", 12345, 12345)
    with pytest.raises(Unusable, match=f"chown root {tmp_path}/pc07"):
        files.read("pc07")


def test_what_is_no_plain_file_is_not_followed(tmp_path: Path) -> None:
    files = SecretFiles(b"key", tmp_path)
    with pytest.raises(Unusable, match="is missing: create it with mode 0600"):
        files.read("pc07")
    (tmp_path / "elsewhere").write_text(GOOD)
    (tmp_path / "pc07").symlink_to("elsewhere")
    with pytest.raises(Unusable, match="cannot be read"):
        files.read("pc07")
    (tmp_path / "pc07").unlink()
    os.mkfifo(tmp_path / "pc07", 0o600)
    with pytest.raises(Unusable, match="cannot be read"):
        files.read("pc07")
    for name in ("../pc07", "", "a/b", "pc07\n"):
        with pytest.raises(ValueError, match="is not a name"):
            files.read(name)


def test_systemds_credential_goes_before_the_folder_and_may_show_its_access_list(tmp_path: Path) -> None:
    granted, folder = tmp_path / "granted", tmp_path / "folder"
    for place, text in ((granted, MUTUAL), (folder, GOOD)):
        place.mkdir()
        kept(place, text)
    files = SecretFiles(b"key", folder, granted)
    (granted / "pc07").chmod(0o440)
    assert files.read("pc07").mutual_username == "the.disk"
    (granted / "pc07").unlink()
    assert files.read("pc07").mutual_username == ""
    with pytest.raises(Unusable, match="set GGNET_SECRETS_DIR"):
        SecretFiles(b"key").read("pc07")


def test_a_digest_says_nothing_without_the_key_and_changes_with_every_field(tmp_path: Path) -> None:
    files = kept(tmp_path, MUTUAL)
    values = files.read("pc07").values
    others = [[*values[:at], values[at] + "x", *values[at + 1 :]] for at in range(4)]
    digests = {files.digest(values), *map(files.digest, others), SecretFiles(b"other").digest(values)}
    assert len(digests) == 6
    assert files.states(["pc07"])["pc07"].digest == files.digest(values)


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    first = installation_key(tmp_path)
    assert (len(first), installation_key(tmp_path)) == (32, first)
    assert (tmp_path / "chap.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_key_that_others_may_know_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "chap.key"
    for spoil in (lambda: path.chmod(0o644), lambda: path.write_bytes(b"x" * 40), lambda: os.chown(path, 12345, -1)):
        known = installation_key(tmp_path)
        spoil()
        fresh = installation_key(tmp_path)
        assert fresh != known
        assert installation_key(tmp_path) == fresh
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (os.geteuid(), 0o600)


def test_no_secret_shows_in_what_python_prints_of_it(tmp_path: Path) -> None:
    files = kept(tmp_path, MUTUAL)
    assert not [value for value in files.read("pc07").values if value in repr(files) + repr(files.read("pc07"))]


def test_a_script_sets_what_is_there_and_nothing_else() -> None:
    one_way, mutual = Secret("pc07", "hushhushhush"), Secret("pc07", "hushhushhush", "disk", "shhhshhhshhh")
    assert one_way.script() == "#!ipxe\nset username pc07\nset password hushhushhush\n"
    assert mutual.script() == f"{one_way.script()}set reverse-username disk\nset reverse-password shhhshhhshhh\n"
