"""No secret stands in what was masked, wherever it stood before."""

import json
import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.core.secrets import MASK, Mask, masked, secret

# A mark that is found nowhere else, with something around it that a person could choose.
MARK = "Xq7Zw9Kp3Rt5"
_SAFE = string.ascii_letters + string.digits + "._~+-"
secrets = st.text(_SAFE, max_size=12).map(lambda text: f"{MARK}{text}{MARK}")
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.sampled_from(
    [
        "password",
        "old_password",
        "PASSWORD",
        "token",
        "access_token",
        "refreshToken",
        "client-secret",
        "api_key",
        "apikey",
        "Authorization",
        "cookie",
        "Set-Cookie",
        "dsn",
        "private_key",
        "credentials",
        "X-GGnet-Signature",
        "passphrase",
    ]
)
values = st.none() | st.booleans() | st.integers() | words
any_json = st.recursive(values, lambda one: st.lists(one) | st.dictionaries(words, one))
shapes = st.sampled_from(
    [
        "Bearer {}",
        "authorization: bearer {}",
        "Basic {}",
        "postgresql://ggnet:{}@db:5432/ggnet",
        "redis://:{}@127.0.0.1/0",
        "https://{}@github.com/x.git",
        "https://ada:p/a@{}@host/x",
        "?token={}&x=1",
        "/ws?access_token={}",
        "password={}",
        "PASSWORD = {}",
        "'secret': '{}'",
        '{{"refresh_token":"{}","a":1}}',
        "api_key={};",
        "ggk_{}",
        "ggr_{}",
        "whsec_{}==",
        "eyJhbGciOiJIUzI1NiJ9.{}.{}",
    ]
)


@given(words, shapes, secrets, words)
def test_a_secret_is_known_by_its_look_in_any_text(before: str, shape: str, value: str, after: str) -> None:
    text = f"{before} {shape.format(value, value)} {after}"
    assert MARK not in masked(text)
    assert masked(masked(text)) == masked(text)


@given(keys, secrets, st.integers(0, 6), words)
def test_a_secret_is_known_by_its_field_at_any_depth(key: str, value: str, depth: int, name: str) -> None:
    nested: Any = {key: value, "n": 1}
    for level in range(depth):
        nested = {name: nested} if level % 2 else [nested]
    assert MARK not in json.dumps(Mask().fields({"event": nested}))


@given(words, st.text(min_size=6, max_size=40), words)
@example("", "a.b*c(", "")
def test_a_known_secret_is_masked_wherever_it_stands(before: str, known: str, after: str) -> None:
    mask = Mask([known, "other-secret", "short"])
    if known not in MASK * 30:
        assert known not in mask.text(f"{before}{known}{after}").replace(MASK, "\0")
    assert mask.text("a short word") == "a short word", "what is short stands everywhere"


@given(any_json)
def test_masking_never_fails_and_gives_json(value: Any) -> None:
    json.dumps(Mask().fields({"value": value}))


class Strange:
    def __repr__(self) -> str:
        return f"Strange(password='{MARK}')"


def test_what_is_no_json_is_masked_as_text() -> None:
    assert MARK not in str(Mask().fields({"a": Strange(), "b": ValueError(f"Bearer {MARK}"), "c": (f"token={MARK}",)}))
    deep: Any = f"token={MARK}"
    for _ in range(50):
        deep = [deep]
    assert MARK not in str(Mask().value(deep))


@pytest.mark.parametrize(
    "text",
    [
        "Send 'Authorization: Bearer TOKEN'; on the server the token is in admin.token (GGNET_STATE_DIR).",
        "git@example.org:infra.git, http://127.0.0.1:8080/api/v1/machines, ssh://git@host/x",
        "Machine/pc07: spec.macs.0: '52:54' is not a MAC; iqn.2026-01.internal.ggnet:default:pc07.0",
        "the password must have 12 characters, refresh tokens last 7 days",
        "name: password: Field required",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


def test_fields_are_judged_by_their_name() -> None:
    assert [secret(key) for key in ("password", "request_id", "who", "tokens_used", "route", "key", "keys", "machine")] == [
        True,
        False,
        False,
        True,
        False,
        False,
        False,
        False,
    ]
    assert Mask().fields({"password": None, "keys": 3}) == {"password": None, "keys": 3}
