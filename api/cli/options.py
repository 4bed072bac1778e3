"""Options that several verbs share, and how long things may take."""

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from api.cli import kinds, output
from api.cli.failure import USAGE, Failure


class Format(StrEnum):
    WIDE = "wide"
    YAML = "yaml"
    JSON = "json"
    NAME = "name"


class PlanFormat(StrEnum):
    JSON = "json"


def _kind(incomplete: str) -> list[str]:
    return kinds.complete(incomplete)


Object = Annotated[
    list[str],
    typer.Argument(
        metavar="KIND/NAME", help="One object: session/pc07, or session pc07.", autocompletion=_kind, show_default=False
    ),
]
Objects = Annotated[
    list[str],
    typer.Argument(
        metavar="KIND[/NAME]",
        help="All of a kind: machines. Or one: machine/pc07, or machine pc07.",
        autocompletion=_kind,
        show_default=False,
    ),
]
Output = Annotated[
    Format | None, typer.Option("-o", "--output", help="How to print it; default: a table.", show_default=False)
]
Json = Annotated[PlanFormat | None, typer.Option("-o", "--output", help="json, for programs.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Also when a source manages it, or its PC is running.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long to wait: 30s, 5m, 1h.")]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def dry(dry_run: bool) -> str:
    """What a line says of something that was only tried."""
    return " (dry run)" if dry_run else ""


def seconds(text: str) -> float:
    """Failure, wrong usage."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhd]?)", text, re.ASCII)
    if match is None:
        raise Failure(f"{ascii(text)[:60]} is not a duration", USAGE, remedy="write it like 30s, 5m, 1h or 90d")
    return float(match[1]) * _UNITS[match[2] or "s"]


def show_list(
    form: Format | None, items: Sequence[Any], headers: Sequence[str], row: Callable[[Any], list[str]], *, name: str = "name"
) -> None:
    """Things that are no manifests; ``name`` is the member that names one."""
    if form is Format.JSON:
        output.as_json({"items": items})
    elif form is Format.YAML:
        output.as_yaml(items)
    elif form is Format.NAME:
        for one in items:
            output.line(one[name])
    elif items:
        output.table(headers, [row(one) for one in items])
    else:
        output.note("none")


def show_one(form: Format | None, item: Any, *, name: str = "name") -> None:
    if form is Format.JSON:
        output.as_json(item)
    elif form is Format.YAML:
        output.as_yaml([item])
    else:
        output.line(item[name])
