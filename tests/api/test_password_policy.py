"""Which passwords are taken, as a pure rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.auth.hashes import Hashes
from api.auth.policy import refusal

REFUSED = [
    ("", "short"),
    ("eleven char", "short"),
    ("é" * 5, "short"),
    ("x" * 72 + "y", "72 bytes"),
    ("é" * 37, "72 bytes"),
    ("ada.lovelace1", "user name"),
    ("ADA.LOVELACE1", "user name"),
    ("ada.lovelace1ada.lovelace1", "user name"),
    ("password1234", "first that are tried"),
    ("PassWord1234", "first that are tried"),
    ("correct horse battery staple", "first that are tried"),
    ("abababababab", "first that are tried"),
    ("a sentence\nof two", "control"),
    ("a sentence\0of two", "control"),
    ("half \ud800 a character", "half"),
]


@pytest.mark.parametrize(("password", "reason"), REFUSED)
def test_a_bad_one_is_refused_with_what_to_do(password: str, reason: str) -> None:
    told = refusal(password, "ada.lovelace1")
    assert told is not None
    assert reason in told
    assert ": " in told


@pytest.mark.parametrize(
    "password", ["twelve chars", "x7" + "a b" * 20, "ein Satz für mich", "1a2b3c4d5e6f7g8h", "é" * 10 + "ab"]
)
def test_a_good_one_is_taken(password: str) -> None:
    assert refusal(password, "ada") is None


@given(st.text(max_size=100), st.text(max_size=63))
def test_none_is_taken_that_bcrypt_would_cut(password: str, name: str) -> None:
    if refusal(password, name) is None:
        assert 12 <= len(password.encode()) <= 72
        assert password.isprintable()


@pytest.mark.anyio
async def test_a_hash_fits_its_password_and_no_other() -> None:
    hashes = Hashes(rounds=4)
    hashed = await hashes.make("x" * 72)
    assert hashed.startswith("$2b$04$")
    assert await hashes.make("x" * 72) != hashed
    assert await hashes.matches("x" * 72, hashed)
    for other in ("x" * 71, "x" * 73, "", "\0", "half \ud800"):
        assert not await hashes.matches(other, hashed)
        assert not await hashes.matches(other, None)
