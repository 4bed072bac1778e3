"""What is written down of a change: all that changed, and no secret."""

import json
import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from api.bodies import merge
from controller.core.masking import LIMIT, MASK, canonical, difference, masked, one_line, secretive, told

SECRET = "s3kr1tHunter2"
SECRETIVE = (
    "password",
    "chapPassword",
    "CHAP",
    "chap-user",
    "api_key",
    "X-Auth-Token",
    "refresh.token",
    "Authorization",
    "client secret",
    "privateKey",
    "to\N{KELVIN SIGN}en",
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
# RFC 7396 has no way to say null, so what is compared by merge patch holds none.
values = st.booleans() | st.integers() | st.text(max_size=6) | st.lists(st.integers(), max_size=2)
objects = st.recursive(
    values, lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=4), max_leaves=10
).map(lambda value: {"root": value})


@st.composite
def hiding(draw: st.DrawFn) -> Any:
    """A document with a secret somewhere in it."""
    held: Any = draw(
        st.sampled_from(
            [{name: SECRET} for name in SECRETIVE]
            + [{name: {"value": SECRET, "list": [SECRET]}} for name in SECRETIVE]
            + [
                f"https://ada:{SECRET}@host/path",
                f"see postgres://{SECRET}@db and ftp://x:{SECRET}@y@z/",
                {f"http://{SECRET}@a/": 1},
            ]
        )
    )
    for key in draw(st.lists(st.text(max_size=6), max_size=4)):
        held = {**draw(st.dictionaries(st.text(max_size=6), plain, max_size=2)), key: held} if key else [held]
    return held


@given(hiding())
def test_a_secret_gets_through_nowhere(document: Any) -> None:
    assert SECRET not in canonical(masked(document))
    assert SECRET not in (told(document) or "")


@given(plain)
@example({"token": ""})
@example({"pass word": None})
def test_masking_twice_is_masking_once_and_keeps_the_shape(document: Any) -> None:
    once = masked(document)
    assert masked(once) == once
    if isinstance(document, dict):
        assert len(once) <= len(document)
        assert {key: value for key, value in once.items() if key in document and not secretive(key)}.keys() >= {
            key for key in document if not secretive(key) and "://" not in key
        }


@given(plain)
def test_what_is_told_is_what_masking_leaves(document: Any) -> None:
    """The shortcut for what is harmless says the same as the long way."""
    if document is not None and len(canonical(masked(document))) <= LIMIT:
        assert told(document) == canonical(masked(document))


def test_what_is_no_secret_stays() -> None:
    document = {"macs": ["52:54:00:00:00:07"], "address": "10.77.0.57", "url": "https://host/a@b", "hostname": "pc07"}
    assert masked(document) == document
    assert told(document) == json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert masked({"password": "", "token": None}) == {"password": "", "token": None}
    assert masked({"password": "x"}) == {"password": MASK}


@given(objects, objects)
def test_a_difference_leads_from_the_one_to_the_other_and_back(before: Any, after: Any) -> None:
    left, right = difference(before, after)
    assert merge(before, right) == after
    assert merge(after, left) == before


@given(objects)
def test_nothing_differs_from_itself(document: Any) -> None:
    assert difference(document, document) == ({}, {})


def test_what_is_long_is_cut_and_says_so() -> None:
    text = told({"macs": ["52:54:00:00:00:07"] * 1000})
    assert text is not None
    cut = json.loads(text)
    assert (cut["cut"], cut["characters"] > LIMIT) == (True, True)
    assert re.fullmatch("[0-9a-f]{64}", cut["sha256"])
    assert len(text) < 2 * LIMIT


@given(st.text(max_size=400))
@example("ada\nlevel=error msg=forged")
@example("\x1b[2J\x00\u202e\ud800")
def test_a_name_is_one_line_of_what_can_be_shown(name: str) -> None:
    line = one_line(name)
    assert line.isprintable()
    assert len(line) <= 131
    line.encode()
    assert one_line(line) == line or len(line) > 128
    if name.isprintable() and len(name) <= 128:
        assert line == name
