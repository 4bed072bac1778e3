"""The documents against the code: what they name exists, and what exists they name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from api import (
    audit,
    bindings,
    bulk,
    changes,
    deleted,
    health,
    history,
    inspection,
    metrics,
    objects,
    problems,
    protocol,
    sessions,
    watch,
    webhooks,
)
from api.auth import routes as auth
from api.auth import tokens, users
from api.cli import client, failure
from api.uploads import routes as uploads
from controller.settings import Settings
from manifests.kinds import KINDS
from manifests.load import Invalid, load
from manifests.meta import POLICIES, Status
from manifests.references import check

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = {kind: ROOT / "docs" / "kinds" / f"{kind.lower()}.md" for kind in KINDS}
WORD = re.compile(r"(?:[A-Z][a-z]+)+", re.ASCII).fullmatch

# Constants in the rooms of the verdicts that are no reasons: statuses, condition types, phases that only a phase is.
NO_REASONS = {"True", "False", "Unknown", "Ready", "Held", "Pending", "Failed"}
_CORE = [f"controller/core/{name}.py" for name in ("verdicts", "status", "image_status", "choice")]
VERDICTS = (*_CORE, "api/live/liveness.py")
BEARERS = {"EffectRefused": 0, "EffectFailed": 0, "SourceProblem": 0, "Missing": 0, "Event": 2, "Remark": 1}


def rows(page: Path) -> Iterator[list[str]]:
    """The cells of every row of every table of a page."""
    for line in page.read_text().splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def first_cells(page: Path) -> set[str]:
    return {name for row in rows(page) for name in re.findall("`([^`]+)`", row[0])}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def examples() -> Iterator[Any]:
    for page in (ROOT / "README.md", *DOCS):
        for number, block in enumerate(blocks(page, "yaml")):
            yield pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")


def test_every_kind_has_a_page_with_an_example_of_it() -> None:
    assert {kind: f"kind: {kind}\n" in blocks(page, "yaml")[0] for kind, page in PAGES.items()} == dict.fromkeys(KINDS, True)


@pytest.mark.parametrize("block", list(examples()))
def test_an_example_is_valid(block: str) -> None:
    loaded = load({"example.yaml": block.encode()})
    if loaded.documents > 1:
        assert check(loaded.objects, loaded.origins) == ()


def test_an_example_with_an_unknown_field_would_be_found() -> None:
    with pytest.raises(Invalid):
        load({"example.yaml": blocks(PAGES["Session"], "yaml")[0].replace("ttl:", "tll:").encode()})


def test_the_examples_of_the_kinds_fit_together() -> None:
    loaded = load({page.name: blocks(page, "yaml")[0].encode() for page in PAGES.values()})
    assert check(loaded.objects, loaded.origins) == ()


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted name and default, as the pages write it, of each field; ``required`` and ``none`` are words."""
    for name, info in model.model_fields.items():
        field = f"{prefix}{info.alias or name}"
        default = "required" if info.is_required() else info.default
        shown = default if default == "required" else "none" if default in (None, ()) else f"`{default}`"
        yield field, {"`True`": "`true`", "`False`": "`false`"}.get(shown, shown)
        inner = [one for one in (info.annotation, *get_args(info.annotation)) if isinstance(one, type)]
        for part in inner:
            if issubclass(part, BaseModel):
                yield from fields(part, f"{field}.")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_exactly_the_fields_of_its_spec_with_their_defaults(kind: str) -> None:
    spec = KINDS[kind].model_fields["spec"].annotation
    assert isinstance(spec, type)
    assert issubclass(spec, BaseModel)
    told = {row[0].strip("`"): row[2] for row in rows(PAGES[kind]) if len(row) == 4 and row[0] != "field"}
    assert told == dict(fields(spec))


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_the_choices_of_its_fields(kind: str) -> None:
    spec: Any = KINDS[kind].model_fields["spec"].annotation
    told = {row[0].strip("`"): row[1] for row in rows(PAGES[kind]) if len(row) == 4}
    choices = {info.alias: get_args(info.annotation) for info in spec.model_fields.values()}
    for name, values in choices.items():
        if values and all(isinstance(value, str) for value in values):
            assert told[name] == ", ".join(f"`{value}`" for value in values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_the_facts_of_its_status(kind: str) -> None:
    annotation = KINDS[kind].model_fields["status"].annotation
    status = next(one for one in get_args(annotation) if isinstance(one, type) and issubclass(one, Status))
    facts = {info.alias or name for name, info in status.model_fields.items() if name not in Status.model_fields}
    assert facts - first_cells(PAGES[kind]) == set()


def test_every_policy_has_an_entry_with_its_values() -> None:
    told = {row[0].strip("`"): row[1] for row in rows(ROOT / "docs/kinds/metadata.md")}
    assert {name: set(re.findall(r"[a-z]+", told[name])) for name in POLICIES} == {n: set(v) for n, v in POLICIES.items()}


def reasons() -> set[str]:
    found = set()
    for path in (*(ROOT / "controller").rglob("*.py"), *(ROOT / "api").rglob("*.py")):
        tree = ast.parse(path.read_text())
        if str(path.relative_to(ROOT)) in VERDICTS:
            constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
            found |= {text for text in constants if isinstance(text, str) and WORD(text)} - NO_REASONS - KINDS.keys()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BEARERS:
                given = node.args[BEARERS[node.func.id]] if len(node.args) > BEARERS[node.func.id] else None
                if isinstance(given, ast.Constant) and isinstance(given.value, str):
                    found.add(given.value)
    return found


def test_operations_has_exactly_the_reasons_that_the_code_can_give() -> None:
    page = (ROOT / "docs/operations.md").read_text().partition("## Reasons")[2]
    told = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(told) == sorted(reasons())


def test_the_reasons_are_found_in_every_room_that_gives_some() -> None:
    assert {"DhcpNotRestarted", "SourceForeign", "MachineBusy", "Suspended", "ControllerGone", "NoNetwork"} <= reasons()


def test_configuration_has_exactly_the_settings_with_their_defaults() -> None:
    page = ROOT / "docs/configuration.md"
    told = {row[0].strip("`"): row[1] for row in rows(page) if row[0].startswith("`GGNET_")}
    known = {
        f"GGNET_{name.upper()}": "unset" if info.default is None else f"`{info.default}`"
        for name, info in Settings.model_fields.items()
        if info.validation_alias is None
    }
    assert told == known
    others = {str(info.validation_alias) for info in Settings.model_fields.values() if info.validation_alias}
    assert {name for name in others if f"`{name}`" not in page.read_text()} == set()


def test_the_documents_name_no_setting_that_does_not_exist() -> None:
    known = {f"GGNET_{name.upper()}" for name in Settings.model_fields}
    named = {name for page in (ROOT / "README.md", *DOCS) for name in re.findall(r"\bGGNET_[A-Z_]+", page.read_text())}
    assert named - known == set()


def test_api_has_exactly_the_routes() -> None:
    text = (ROOT / "docs/api.md").read_text()
    told = {(method, path) for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE|OPTIONS) (/[^` ]*)`", text)}
    everyday = (changes, sessions, bulk, history, inspection, watch, uploads)
    others = (health, audit, webhooks, auth, users, tokens, bindings)
    routers = (*(one.router for one in (*everyday, *others)), deleted.router, objects.router("machines"))
    routes = [route for router in routers for route in router.routes]
    known = {(method, route.path.replace("/machines", "/{kinds}")) for route in routes for method in route.methods}
    assert told == known
    assert metrics.PREFIX in text


def test_api_has_exactly_the_error_codes() -> None:
    told = {(int(row[0]), row[1].strip("`")) for row in rows(ROOT / "docs/api.md") if re.fullmatch("[45][0-9]{2}", row[0])}
    known = {*problems.TABLE.values(), *problems._BY_STATUS.values(), *protocol.ROWS, problems.INTERNAL}
    assert told == {(row.status, row.code) for row in known}


def test_api_has_the_exit_codes_and_what_leads_to_them() -> None:
    told = {int(row[0]): row[2] for row in rows(ROOT / "docs/api.md") if re.fullmatch("[0-9]|130", row[0])}
    codes = {value for name, value in vars(failure).items() if name.isupper() and isinstance(value, int)}
    assert told.keys() == codes | {130}
    assert {code: number for code, number in client._EXIT.items() if f"`{code}`" not in told[number]} == {}


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        found = page.parent / name if name else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target
