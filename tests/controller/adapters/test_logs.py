"""What is said is one line a fact, of our own and of the libraries, without secrets and without lines that others write."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from controller.adapters.logs import Form, Logs, form
from controller.core.secrets import Mask
from tests import logs

TOKEN = "Zk3-secret-of-this-process"


@pytest.fixture
def opened() -> Iterator[Callable[[Form, str], io.StringIO]]:
    """A log into a text; what was there before comes back."""
    root = logging.getLogger()
    handlers, level, shown = root.handlers[:], root.level, warnings.showwarning

    def open_(form: Form, level: str) -> io.StringIO:
        out = io.StringIO()
        Logs([TOKEN]).open(form, level, out)
        return out

    yield open_
    logs.configure()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(capture=False)
    root.handlers[:], warnings.showwarning = handlers, shown
    root.setLevel(level)


Opened = Callable[[Form, str], io.StringIO]


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_fact_is_a_line_of_json_with_time_level_and_request(opened: Opened) -> None:
    out = opened("json", "info")
    structlog.contextvars.bind_contextvars(request_id="r1")
    structlog.get_logger(part="x").info("happened", count=3)
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "happened", "count": 3, "level": "info", "part": "x", "request_id": "r1"}


def test_libraries_pass_the_same_door(opened: Opened) -> None:
    out = opened("json", "info")
    logging.getLogger("uvicorn.error").warning("Invalid %s from %s", "HTTP", f"http://u:{TOKEN}@h/")
    logging.getLogger("uvicorn.error").info("not this")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a warning", stacklevel=1)
    first, second = lines(out)
    assert (first["part"], first["level"], first["event"]) == (
        "uvicorn.error",
        "warning",
        "Invalid HTTP from http://u:***@h/",
    )
    assert (second["part"], "a warning" in second["event"]) == ("py.warnings", True)


def test_what_is_below_the_level_is_not_said(opened: Opened) -> None:
    out = opened("json", "warning")
    for level in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), level)(level)
    assert [line["event"] for line in lines(out)] == ["warning", "error"]


def test_a_failure_is_one_line_with_its_traceback_and_without_its_secrets(opened: Opened) -> None:
    out = opened("json", "info")
    try:
        raise ValueError(f"cannot connect to postgresql://ggnet:hunter22@db/x with {TOKEN}")
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
        logging.getLogger("asyncpg").error("failed", exc_info=error)
    for line in lines(out):
        assert "Traceback" in line["exception"]
        assert "postgresql://ggnet:***@db/x" in line["exception"]
        assert "hunter22" not in str(line)
        assert TOKEN not in str(line)


def test_secrets_are_masked_by_name_by_look_and_by_knowing(opened: Opened) -> None:
    for kind in ("json", "console"):
        out = opened(kind, "info")
        structlog.get_logger().info(
            "x", password="hunter22", headers={"Authorization": "Bearer abcdefgh1234"}, url="/ws?token=abcdefgh", said=TOKEN
        )
        for text in ("hunter22", "abcdefgh", TOKEN):
            assert text not in out.getvalue(), (kind, text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.sampled_from(["json", "console"]))
@example('x\n{"event":"request","who":"admin"}', "json")
@example("x\r\n2026-01-01 [info] forged", "console")
@example("\x1b]0;owned\x07\x1b[2J\x9b31m\u2028\u202e", "console")
def test_what_a_stranger_sends_begins_no_line_and_rules_no_terminal(opened: Opened, text: str, kind: Form) -> None:
    out = opened(kind, "info")
    structlog.get_logger().info("request", who=text, **{"nested": [text]})
    told = out.getvalue()
    assert told.endswith("\n")
    assert told.count("\n") == 1
    if kind == "json":
        assert told.isascii()
        assert told[:-1].isprintable()
        assert set(json.loads(told)) == {"event", "level", "timestamp", "who", "nested"}
    else:
        assert not set(told) & {"\r", "\x07", "\x9b", "\u2028", "\u202e"}
        assert "\x1b]" not in told
        assert "\x1b[2J" not in told


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from([TOKEN, "token=abcdefgh"])
)
_NAMES = st.one_of(
    st.sampled_from(["who", "status", "password", "request_id", TOKEN]), st.from_regex("[a-z]{3,9}", fullmatch=True)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_NAMES.filter(lambda name: name not in ("event", "level", "timestamp")), _VALUES | st.lists(_VALUES)))
@example({"one": 1, "yes": True, "half": 1.0, "no": 0.0, "not": False, "password": None})
@example({"far": float("inf"), "none": float("nan"), "request_id": TOKEN, "long": f"{'x' * 80} {TOKEN}"})
def test_a_line_says_what_was_said_but_for_secrets(opened: Opened, fields: dict[str, Any]) -> None:
    out = opened("json", "info")
    structlog.get_logger().info("said", **fields)
    (line,) = lines(out)
    told = {**fields, "event": "said", "level": "info", "timestamp": line["timestamp"]}
    assert json.dumps(line, sort_keys=True) == json.dumps(Mask([TOKEN]).fields(told), sort_keys=True)


def test_machines_read_json_and_people_lines() -> None:
    assert [form("json"), form("console"), form(None)] == ["json", "console", "json"]
