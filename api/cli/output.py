"""What people see: tables and colour on a terminal, the same words plainly spaced when piped.

Nothing that a server says may steer the terminal: control characters are shown, not sent.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import typer

_COLOUR = {
    "Ready": "green",
    "Active": "bold green",
    "True": "green",
    "accepted": "green",
    "Pending": "yellow",
    "Preparing": "yellow",
    "Stopping": "yellow",
    "Committing": "yellow",
    "guarded": "yellow",
    "Warning": "yellow",
    "next-boot": "yellow",
    "Unknown": "magenta",
    "Failed": "bold red",
    "False": "red",
    "refused": "red",
    "failed": "red",
    "disruptive": "bold red",
    "data-loss": "bold white on red",
}


def clean(text: str) -> str:
    """One line, without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else " " if c in "\r\n\t" else f"\\x{ord(c):02x}" for c in text)


def coloured() -> bool:
    return sys.stdout.isatty()


def line(text: str = "") -> None:
    typer.echo(clean(text))


def note(text: str) -> None:
    """For people, beside the output: never into a pipe."""
    typer.echo(clean(text), err=True)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Tells what is waited for on one line of a terminal, which is gone at the end; where nobody looks, nothing."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from shutil import get_terminal_size

    width = get_terminal_size().columns - 1
    try:
        yield lambda text: typer.echo(f"\r\x1b[K{clean(text)[:width]}", nl=False, err=True)
    finally:
        typer.echo("\r\x1b[K", nl=False, err=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    cells = [[clean(cell) for cell in row] for row in rows]
    if coloured():
        _rich_table(headers, cells)
        return
    for text in plain(headers, cells):
        typer.echo(text)


def plain(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two spaces apart; an empty cell is ``-``, so that ``awk`` counts right."""
    filled = [list(headers), *([cell or "-" for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in filled) for i in range(len(headers))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in filled]


def _rich_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    widths = _widths(headers, rows, console.width)
    console.width = max(console.width, sum(widths) + 2 * len(widths))  # else rich leaves columns out
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for header, width in zip(headers, widths, strict=True):
        grid.add_column(header, overflow="fold", width=width)
    for row in rows:
        grid.add_row(*(Text(cell or "-", style=_COLOUR.get(cell, "")) for cell in row))
    console.print(grid)


def _widths(headers: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """The widest columns are folded first, and none below its title."""
    least = [len(header) or 1 for header in headers]
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    while sum(widths) + 2 * len(widths) > room and widths != least:
        wide = max((at for at, width in enumerate(widths) if width > least[at]), key=widths.__getitem__)
        widths[wide] -= 1
    return widths


def paint(text: str, word: str | None = None) -> str:
    """The text in the colour of its meaning, on a terminal."""
    style = _COLOUR.get(word or text, "")
    if not coloured() or not style:
        return clean(text)
    foreground = style.partition(" on ")[0].split()[-1]
    return typer.style(clean(text), fg=foreground, bold="bold" in style, bg="red" if " on red" in style else None)


def word(value: Any) -> str:
    """One value of an object, as a manifest writes it."""
    if isinstance(value, list):
        return ", ".join(word(one) for one in value) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value) or "-"


def as_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=True))


def as_yaml(values: Sequence[Any]) -> None:
    import yaml

    typer.echo(yaml.safe_dump_all(values, sort_keys=False, default_flow_style=False, allow_unicode=False), nl=False)


def age(since: str | None, now: datetime) -> str:
    """Kubernetes' way: the largest one or two units."""
    if not since:
        return ""
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def labels(metadata: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(metadata.get("labels", {}).items()))
