"""Objects one by one: ``get``, ``describe``, ``delete``, ``wait``."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from api.cli import client, columns, kinds, options, output, waiting
from api.cli.client import Client
from api.cli.failure import USAGE, Failure
from api.cli.kinds import Ref
from api.cli.options import Format

_PAGE = 500


def get(
    what: options.Objects,
    selector: Annotated[str | None, typer.Option("-l", "--selector", help="By label: room=main,tier!=test,gpu.")] = None,
    fields: Annotated[str | None, typer.Option("--field-selector", help="By field: status.phase=Ready.")] = None,
    search: Annotated[str | None, typer.Option("--search", metavar="TEXT", help="Names, labels, MACs, addresses.")] = None,
    sort: Annotated[str | None, typer.Option("--sort-by", metavar="FIELD", help="name, phase, -createdAt.")] = None,
    form: options.Output = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on with what changes, until Ctrl-C.")] = False,
) -> None:
    """List objects, or show one.

    Kinds: networks, machines, images, sessions; singular and short forms (net, pc, img, s) too.

    Examples:

      ggnet get sessions

      ggnet get machines -l room=main -o wide

      ggnet get sessions --field-selector status.phase!=Ready --sort-by -createdAt

      ggnet get session/pc07 -o yaml

      ggnet get sessions --watch
    """
    ref = kinds.parse(kinds.joined(what))
    asked = {"labelSelector": selector, "fieldSelector": fields, "q": search, "sort": sort}
    if ref.name is not None and any(value is not None for value in asked.values()):
        raise Failure("selectors choose among many, and one was named", USAGE, remedy="leave out one of the two")
    if watch and (fields is not None or search is not None):
        raise Failure("a watch chooses by label alone", USAGE, remedy="use -l, or leave out --watch")
    connection = client.connect()
    if ref.name is not None:
        items, version = [connection.get(ref.path)], 0
        version = items[0]["metadata"]["resourceVersion"]
    else:
        items, version = _all(connection, ref, asked)
    _show(connection, ref, items, form)
    if watch:
        names = {one["metadata"]["name"] for one in items}
        with connection.events("/watch", since=version, kinds=ref.plural, labelSelector=selector or "") as lines:
            _follow(connection, ref, lines, form, names, _widths(connection, ref, items, form))


def describe(what: options.Object) -> None:
    """Show all that is known of one object: what was asked, what was observed, what happened.

    Example:

      ggnet describe session/pc07
    """
    ref = kinds.parse_one(kinds.joined(what))
    connection = client.connect()
    item = connection.get(ref.path)
    events = connection.get("/events", object=ref.key, limit=20)["items"]
    conditions = item.get("status", {}).pop("conditions", [])
    output.line(ref.key)
    for section in ("metadata", "spec", "status"):
        output.line(f"\n{section.capitalize()}:".strip("\n"))
        for field, value in _flat(item.get(section, {})):
            output.line(f"  {field}: {value}")
    output.line("Conditions:")
    now = connection.now
    rows = [
        [one["type"], one["status"], one["reason"], output.age(one["lastTransitionTime"], now), one["message"]]
        for one in conditions
    ]
    output.table(["  TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], [["  " + row[0], *row[1:]] for row in rows])
    output.line("Events:")
    told = [
        ["  " + output.age(one["last"], now), one["type"], one["reason"], str(one["count"]), one["message"]]
        for one in events
    ]
    output.table(["  LAST", "TYPE", "REASON", "COUNT", "MESSAGE"], told)


def wait(
    what: options.Object,
    goal: Annotated[
        str, typer.Option("--for", metavar="GOAL", help="condition=Ready, phase=Active or delete.")
    ] = "condition=Ready",
    timeout: options.Timeout = "30s",
) -> None:
    """Wait until an object gets somewhere. Exit code 7 when it does not in time.

    The generation that is seen first is the one that must get there: an older status does not count.

    Examples:

      ggnet wait session/pc07 --for condition=Ready --timeout 30s

      ggnet wait session/pc07 --for phase=Active --timeout 5m

      ggnet wait machine/pc07 --for delete
    """
    ref, wanted = kinds.parse_one(kinds.joined(what)), waiting.parse(goal)
    waiting.until(client.connect(), ref, wanted, time.monotonic() + options.seconds(timeout))
    output.line(f"{ref.key} {wanted}")


def _all(connection: Client, ref: Ref, asked: Mapping[str, str | None]) -> tuple[list[Any], int]:
    page = connection.get(ref.path, **asked, limit=_PAGE)
    items, version = page["items"], page["metadata"]["resourceVersion"]
    while after := page["metadata"].get("continue"):
        page = connection.get(ref.path, **asked, **{"limit": _PAGE, "continue": after})
        items += page["items"]
    return items, version


def _show(connection: Client, ref: Ref, items: list[Any], form: Format | None) -> None:
    match form:
        case Format.JSON:
            output.as_json(items[0] if ref.name is not None else {"items": items})
        case Format.YAML:
            output.as_yaml(items)
        case Format.NAME:
            for item in items:
                output.line(f"{item['kind']}/{item['metadata']['name']}")
        case Format.WIDE | None:
            wide = form is Format.WIDE
            if not items:
                output.note(f"no {ref.plural}")
                return
            rows = [columns.row(ref.plural, item, connection.now, wide=wide) for item in items]
            output.table(columns.headers(ref.plural, wide=wide), rows)


def _follow(
    connection: Client, ref: Ref, lines: Iterator[str], form: Format | None, names: set[str], widths: list[int]
) -> None:
    """``names`` are those shown so far: a deletion is told only of these."""
    for change in _changes(lines):
        item, name = change["object"], change["object"]["metadata"]["name"]
        if ref.name is not None and name != ref.name:
            continue
        if change["type"] != "DELETED":
            names.add(name)
            _show_one(connection, ref, item, form, widths)
        elif name in names:
            names.discard(name)
            output.line(f"{item['kind']}/{name} deleted")


def _widths(connection: Client, ref: Ref, items: list[Any], form: Format | None) -> list[int]:
    """Of the columns of the table that stands above what changes."""
    wide = form is Format.WIDE
    rows = [columns.row(ref.plural, item, connection.now, wide=wide) for item in items]
    return [max(map(len, column)) for column in zip(columns.headers(ref.plural, wide=wide), *rows, strict=True)]


def _show_one(connection: Client, ref: Ref, item: Any, form: Format | None, widths: list[int]) -> None:
    """``widths`` are those of the columns so far, and grow with what comes."""
    if form in (None, Format.WIDE):
        cells = [cell or "-" for cell in columns.row(ref.plural, item, connection.now, wide=form is Format.WIDE)]
        widths[:] = [max(pair) for pair in zip(widths, map(len, cells), strict=True)]
        output.line("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    else:
        _show(connection, Ref(ref.plural, item["metadata"]["name"]), [item], form)


def _changes(lines: Iterator[str]) -> Iterator[Any]:
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and all(isinstance(one, dict) for one in value):
            for at, one in enumerate(value):
                yield f"{prefix}{key}[{at}]", "  ".join(f"{name}={text}" for name, text in _flat(one))
        else:
            yield f"{prefix}{key}", output.word(value)
