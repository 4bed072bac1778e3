"""``audit``: who did what; whether the log is whole; what is old goes."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from api.cli import client, kinds, output
from api.cli.failure import ERROR, USAGE, Failure

audit = typer.Typer(invoke_without_command=True)
_PAGE = 1000
_HEADERS = ["NUMBER", "AGE", "WHO", "FROM", "ACTION", "OBJECT", "OUTCOME", "CHANGE"]
_WIDTH = 100


class Form(StrEnum):
    YAML = "yaml"
    JSON = "json"


Output = Annotated[Form | None, typer.Option("-o", "--output", help="yaml or json; default: a table.", show_default=False)]


@audit.callback()
def rows(
    ctx: typer.Context,
    who: Annotated[str | None, typer.Option("--who", help="A user, git:SOURCE or controller.", show_default=False)] = None,
    about: Annotated[
        str | None, typer.Option("--object", metavar="KIND/NAME", help="Machine/pc07, User/ada.", show_default=False)
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", help="create, update, delete, login ...", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="2026-01-05, or 2h for two hours ago.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="How many, at most.")] = 50,
    form: Output = None,
) -> None:
    """Show who did what, from where, before and after: the newest rows, the oldest of them first.

    Examples:

      ggnet audit

      ggnet audit --who ada --since 2h

      ggnet audit --object Machine/pc07 -o json

      ggnet audit verify
    """
    if ctx.invoked_subcommand is not None:
        return
    key = _key(about) if about is not None else None
    connection = client.connect()
    found = _read(connection, limit, who=who, object=key, action=action, since=since)
    if form is Form.JSON:
        output.as_json({"items": found})
    elif form is Form.YAML:
        output.as_yaml(found)
    elif not found:
        output.note("nothing in the audit log fits")
    else:
        output.table(_HEADERS, [_cells(row, connection) for row in found])


@audit.command()
def verify(
    head: Annotated[
        str | None, typer.Option("--head", metavar="HASH", help="A head noted earlier: must be there still.")
    ] = None,
    form: Output = None,
) -> None:
    """Look whether a row of the audit log was altered, removed, inserted or moved. Exit code 1 if so.

    Note the head that it prints somewhere else: with it, a log that was written anew is found as well.

    Examples:

      ggnet audit verify

      ggnet audit verify --head 1042:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    """
    answer = client.connect().call("GET", "/audit/verify", params={"head": head}, timeout=600)
    findings = answer["findings"]
    if form is Form.JSON:
        output.as_json(answer)
    elif form is Form.YAML:
        output.as_yaml([answer])
    elif not findings:
        output.line(f"{answer['rows']} rows, all as they were written; head {answer['head']}")
    if findings:
        remedy = "keep a copy of the database, and compare it with a backup"
        lines = tuple(one["message"] for one in findings)
        raise Failure("the audit log was tampered with", ERROR, remedy=remedy, lines=lines)


@audit.command()
def prune(
    before: Annotated[str, typer.Option("--before", metavar="TIME", help="2026-01-05, or 90d for 90 days ago.")],
) -> None:
    """Remove what is older from the audit log: on the server itself, by whoever may use its database.

    The rest can be verified as before: a checkpoint keeps the hash of the last row that went. GGNET_AUDIT_DAYS does it
    by itself.

    Example:

      ggnet audit prune --before 365d
    """
    from api import moments
    from api.cli.daemon import read_settings, telling
    from controller.bootstrap import here, stores

    now = here.clock().now()
    try:
        until = moments.parse(before, now)
    except ValueError as error:
        raise Failure(f"--before: {error}", USAGE) from None
    if until > now:
        raise Failure("--before is in the future: that would remove everything", USAGE, remedy="write a time that is over")
    settings = read_settings()
    gone = telling(lambda: stores.prune_audit(settings, until))
    output.line(f"{gone} rows removed")


def _read(connection: client.Client, limit: int, **filters: str | None) -> list[Any]:
    found: list[Any] = []
    after: str | None = None
    while len(found) < limit:
        asked = {**filters, "limit": min(_PAGE, limit - len(found)), "continue": after}
        page = connection.get("/audit", **asked)
        found += page["items"]
        after = page["metadata"].get("continue")
        if after is None:
            break
    return found[::-1]


def _key(text: str) -> str:
    """Kinds as every verb takes them, ``pc/pc07``, and those that are no manifests, ``user/ada``. Failure, wrong usage."""
    kind, _, name = text.partition("/")
    if not kind or not name:
        raise Failure(f"{ascii(text)[:60]} names no object", USAGE, remedy="write it like machine/pc07 or user/ada")
    return kinds.parse_one(text).key if kinds.known(kind) else f"{kind[0].upper()}{kind[1:]}/{name}"


def _cells(row: Any, connection: client.Client) -> list[str]:
    outcome = row["outcome"] if row["count"] == 1 else f"{row['outcome']} x{row['count']}"
    return [
        str(row["number"]),
        output.age(row["at"], connection.now),
        row["who"],
        row["address"],
        row["action"],
        row["object"] or "",
        outcome,
        change(row["before"], row["after"]),
    ]


def change(before: Any, after: Any) -> str:
    """What differs, one field after the other: ``spec.hostname: one -> two``."""
    old, new = _flat(before), _flat(after)
    parts = []
    for field in sorted(old.keys() | new.keys()):
        was, now = old.get(field), new.get(field)
        parts.append(f"{field}: {now}" if was is None else f"{field}: {was} -> {'gone' if now is None else now}")
    text = "; ".join(parts)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for key, held in value.items():
            found |= _flat(held, f"{prefix}.{key}" if prefix else key)
        return found
    if value is None or value == []:
        return {}
    return {prefix: value if isinstance(value, str) else json.dumps(value)}
