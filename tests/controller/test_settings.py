"""Secrets that come as files: the password joins its URL, and no refusal repeats one of them."""

from pathlib import Path

import pytest

from controller.adapters.database_url import parse
from controller.settings import Settings, SettingsError

URL = "postgresql://ggnet@db:5432/ggnet"


def settings(url: str | None, file: Path) -> Settings:
    return Settings(database_url=url, database_password_file=file, redis_url=url, redis_password_file=file)


@pytest.mark.parametrize("password", ["simple", "p@ss:w/rd#%?", "ü ñ", " leading"])
@pytest.mark.parametrize("url", [URL, "postgresql://ggnet@/ggnet?host=/run/postgresql"])
def test_the_password_of_a_file_joins_the_url(tmp_path: Path, url: str, password: str) -> None:
    file = tmp_path / "password"
    file.write_text(f"{password}\n")
    found = parse(settings(url, file).database)
    assert (found.password, found.username, found.database) == (password, "ggnet", "ggnet")
    assert found._replace(password=None) == parse(url)


def test_redis_takes_its_own_without_a_user(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("p@ss")
    assert Settings(redis_url="redis://cache:6379/0", redis_password_file=file).redis == "redis://:p%40ss@cache:6379/0"
    assert Settings(redis_password_file=file).redis is None


def test_without_a_file_the_url_is_all_there_is() -> None:
    assert (Settings(database_url=URL).database, Settings(redis_url="redis://c").redis) == (URL, "redis://c")


@pytest.mark.parametrize(
    ("content", "url", "told"),
    [
        (None, URL, "cannot be read: No such file"),
        (b"\xff\xfe", URL, "cannot be read: it is no text"),
        (b"", URL, "does not hold one line"),
        (b"hush\nhush", URL, "does not hold one line"),
        (b"hush", "postgresql://ggnet:hush@db/ggnet", "without a password in it"),
        (b"hush", None, "without a password in it"),
        (b"hush", "hush", "without a password in it"),
    ],
)
def test_a_password_file_that_cannot_be_used_is_named_and_not_repeated(
    tmp_path: Path, content: bytes | None, url: str | None, told: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=told) as refused:
        _ = settings(url, file).database
    assert str(refused.value).startswith("GGNET_DATABASE_PASSWORD_FILE")
    assert "hush" not in str(refused.value)
