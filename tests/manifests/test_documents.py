"""Bytes to plain values: the core schema, what is refused, and what a hostile file can cost."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.documents import MAX_DEPTH, MAX_FILE_BYTES, MAX_WIDTH, Unreadable, documents
from tests.manifests.sets import found, values

_TEXT = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufeff\ufffe\uffff")


@pytest.mark.parametrize(
    "text", ["yes", "no", "on", "off", "Y", "N", "10:20:30:40:50:59", "010", "0o10", "1e3", "1_000", ".inf"]
)
def test_a_plain_word_that_yaml_1_1_would_turn_into_something_else_stays_text(text: str) -> None:
    assert values(f"a: {text}") == [{"a": text}]


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("null", None), ("~", None), ("", None)])
def test_null_and_booleans_are_those_of_the_core_schema(text: str, value: object) -> None:
    assert values(f"a: {text}") == [{"a": value}]


@pytest.mark.parametrize("text", ["true", "null", "~", "", "no"])
def test_what_stands_in_quotes_is_text(text: str) -> None:
    assert values(f"""a: '{text}'\nb: "{text}" """) == [{"a": text, "b": text}]


@pytest.mark.parametrize("text", ["2024-13-45", "9" * 5000, "0x1F", "1__2", "12:30:45", "=", "190:20:30.15"])
def test_scalars_that_break_other_loaders_are_text(text: str) -> None:
    assert values(f"a: {text}") == [{"a": text}]


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(_TEXT),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
        max_leaves=8,
    ),
    st.booleans(),
)
def test_json_reads_as_itself(value: object, escaped: bool) -> None:
    text = json.dumps({"value": value}, ensure_ascii=escaped, indent="\t")
    assert [one.value for one in documents(text.encode(), json=True)] == [{"value": value}]


def test_a_backslash_before_an_escape_keeps_it_from_being_joined() -> None:
    text = '{"a": "\\\\ud83d\\\\ude00", "b": "\\\\\\ud83d\\ude00"}'
    assert [one.value for one in documents(text.encode(), json=True)] == [json.loads(text)]


def test_empty_documents_and_comments_are_passed_over() -> None:
    assert values("# nothing\n---\n---\na: b\n---\n# more\n...\n") == [{"a": "b"}]
    assert values("") == []


@pytest.mark.parametrize("text", ["[{a: b}, {c: d}]", "items: [{a: b}, {c: d}]\nmetadata: {resourceVersion: 3}"])
def test_a_list_is_its_items(text: str) -> None:
    assert values(text) == [{"a": "b"}, {"c": "d"}]


def test_every_node_knows_its_line() -> None:
    text = "a: 1\n---\nb:\n  c:\n    - x\n    - d: y\n"
    second = found(text)[1]
    assert [second.line(path) for path in [(), ("b",), ("b", "c"), ("b", "c", 0), ("b", "c", 1, "d")]] == [3, 3, 4, 5, 6]
    assert second.line(("b", "c", 9, "nowhere")) == 4


def test_an_item_of_a_list_knows_its_lines() -> None:
    assert [one.line(("a",)) for one in found("items:\n- a: 1\n- x: 1\n  a: 2\n")] == [2, 4]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, "'a' stands here twice, first in line 1"),
        ("a: &x 1", 1, "&x is an anchor"),
        ("a: *x", 1, "*x is an alias"),
        ("a: !!str 1", 1, "is a tag"),
        ("a: !!python/object/apply:os.system [x]", 1, "is a tag"),
        ("a: ! 1", 1, "is a tag"),
        ("a: 1\n<<: {b: 1}", 2, "is a merge key"),
        ("? [a]\n: b", 1, "a key that is not text"),
        ("null: b", 1, "the key 'null' is not text"),
        ("true: b", 1, "the key 'true' is not text"),
        ("&x a: b", 1, "has an anchor or a tag"),
    ],
)
def test_what_the_language_does_not_have_is_named_with_its_line(text: str, line: int, message: str) -> None:
    (document,) = found(text)
    ((where, _, told),) = document.flaws
    assert where == line
    assert message in told


def test_a_flaw_in_a_list_belongs_to_its_item() -> None:
    first, second = found("- a: 1\n- b: *x\n")
    assert first.flaws == ()
    assert second.flaws == ((2, ("b",), "*x is an alias: write the value out"),)


def test_a_flaw_beside_the_items_of_a_list_is_not_lost() -> None:
    assert [one.flaws for one in found("items: [{a: b}]\nkind: *x\n")][1] != ()


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"a: b\nc: \xff", 2, "not UTF-8"),
        (b"\xef\xbb\xbfa: b", 1, "byte order mark"),
        ("a: b".encode("utf-16"), 1, "UTF-16"),
        (b"a: b\nc: \x00", 2, "U+0000"),
        (b"a: \x1b[31m", 1, "U+001B"),
        (b"\x7fELF\x01", 1, "U+007F"),
        ("a: b\u2028c".encode(), 1, "U+2028"),
        ("a: \x85".encode(), 1, "U+0085"),
        ("a: b\ufeff".encode(), 1, "U+FEFF"),
        (b"a:\n\tb: c", 2, "a tab"),
        (b"a:\n  \tb: c", 2, "a tab"),
        (b"%YAML 1.1\n---\na: b", 1, "a directive"),
        (b"%TAG !a! x\n---\na: b", 1, "a directive"),
        (b"a: b: c", 1, "not valid YAML"),
        (b"a: b\n}", 2, "not valid YAML"),
        (b"a: 'b", 1, "not valid YAML"),
        (b"a: " + b"[" * MAX_DEPTH, 1, "nested deeper"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(data: bytes, line: int, message: str) -> None:
    with pytest.raises(Unreadable, match=message.replace("+", r"\+")) as caught:
        list(documents(data))
    assert caught.value.line == line


def test_a_tab_after_the_indent_and_in_json_is_white_space() -> None:
    assert values("a:\tb") == [{"a": "b"}]
    assert [one.value for one in documents(b'{\n\t"a": 1}', json=True)] == [{"a": "1"}]


_BOMBS = {
    "25,000 open brackets": b"[" * 25_000,
    "25,000 open braces": b"{" * 25_000,
    "25,000 nested dashes": b"- " * 25_000,
    "25,000 question marks": b"? " * 25_000,
    "a map of 100,000 keys": b"\n".join(b"k%d: v" % n for n in range(100_000)),
    "a flow map of 100,000 keys": b"{" + b", ".join(b"k%d: v" % n for n in range(100_000)) + b"}",
    "one key 100,000 times": b"k: v\n" * 100_000,
    "a list of 100,000 items": b"a: [" + b"x, " * 100_000 + b"]",
    "a laugh": b"a: &a [l]\nb: &b [*a,*a]\n" + b"c: [" + b"*b," * 100_000 + b"]",
    "a million documents": b"---\n" * 1_000_000,
    "200,000 tag directives": b"".join(b"%%TAG !a%d! x\n" % n for n in range(200_000)) + b"---\na",
    "100,000 anchors": b"a: [" + b", ".join(b"&a%d x" % n for n in range(100_000)) + b"]",
}


@pytest.mark.parametrize("bomb", _BOMBS.values(), ids=_BOMBS.keys())
def test_a_bomb_is_refused_before_it_costs_anything(bomb: bytes) -> None:
    start = time.process_time()
    with pytest.raises(Unreadable):
        list(documents(bomb))
    assert time.process_time() - start < 5


def test_a_map_may_be_as_wide_as_the_limit() -> None:
    keys = "\n".join(f"k{n}: v" for n in range(MAX_WIDTH))
    assert len(found(keys)[0].value) == MAX_WIDTH


def test_a_file_larger_than_the_limit_is_not_looked_into() -> None:
    with pytest.raises(Unreadable, match="at most"):
        list(documents(b"#" * (MAX_FILE_BYTES + 1)))


def unreadable_at(data: bytes, *, json: bool = False) -> int | None:
    try:
        list(documents(data, json=json))
    except Unreadable as unreadable:
        return unreadable.line
    return None


@given(st.binary(max_size=200))
def test_any_bytes_are_values_or_unreadable(data: bytes) -> None:
    assert unreadable_at(data) in {None, *range(1, data.count(b"\n") + data.count(b"\r") + 3)}


@given(st.text("ab:-?[]{}&*!|>'\"%@`,# \n\t~<", max_size=60), st.booleans())
def test_any_marks_of_yaml_are_values_or_unreadable(text: str, as_json: bool) -> None:
    assert unreadable_at(text.encode(), json=as_json) in {None, *range(1, text.count("\n") + 3)}
