"""``delete``, and the way back: ``deleted``, ``restore``."""

from typing import Annotated, Any

import typer

from api.cli import client, kinds, options, output
from api.cli.failure import INVALID, USAGE, Failure


def delete(
    what: options.Objects,
    selector: Annotated[
        str | None, typer.Option("-l", "--selector", help="All of the kind with these labels.", show_default=False)
    ] = None,
    force: options.Force = False,
    dry_run: options.DryRun = False,
) -> None:
    """Remove one object, or all with a label; what it has on the boot server is withdrawn first.

    Refused (exit code 9) while its PC is running from the disk that would go, and for more than 5 and a tenth of the kind
    at once, unless --force asks for it. See ggnet deleted for the way back.

    Examples:

      ggnet delete session/pc07

      ggnet delete machines -l room=old --dry-run
    """
    ref = kinds.parse(kinds.joined(what))
    if (ref.name is None) != (selector is not None):
        raise Failure("say which: by name, or a kind and -l", USAGE, remedy="ggnet delete session/pc07")
    params = {"force": "true" if force else None, "dryRun": "true" if dry_run else None, "labelSelector": selector}
    try:
        answer = client.connect().call("DELETE", ref.path, params=params)
    except client.Refusal as refusal:
        if refusal.code == INVALID and any(one.get("object") for one in refusal.errors):
            refusal.remedy = "first delete or change what needs it"
        raise
    keys = [ref.key] if ref.name is not None else answer["deleted"]
    for key in keys:
        output.line(f"{key} deleted{options.dry(dry_run)}")
    if not keys:
        output.note(f"no {ref.plural} with these labels")


def deleted(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", autocompletion=kinds.complete, show_default=False)] = None,
    form: options.Json = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, at most.")] = 50,
) -> None:
    """Show what can be restored, the last deleted first.

    Example:

      ggnet deleted machines
    """
    connection = client.connect()
    found = connection.get("/deleted", kind=kinds.parse(kind).plural if kind else None, limit=limit)["items"]
    if form is not None:
        output.as_json({"items": found})
    elif not found:
        output.note("nothing that can be restored")
    else:
        output.table(["OBJECT", "DELETED", "BY", "UNTIL", "UID"], [_row(one, connection) for one in found])


def restore(
    what: options.Object,
    uid: Annotated[
        str | None, typer.Option("--uid", help="Which, of several with this name; default: the last.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also what its source no longer holds.")] = False,
    dry_run: options.DryRun = False,
) -> None:
    """Bring a deleted object back as it was: its uid, labels, annotations and spec.

    Examples:

      ggnet restore machine/pc07

      ggnet restore session/pc07 --dry-run
    """
    ref = kinds.parse_one(kinds.joined(what))
    params = {"uid": uid, "force": "true" if force else None, "dryRun": "true" if dry_run else None}
    client.connect().post(f"{ref.path}/restore", params=params)
    output.line(f"{ref.key} restored{options.dry(dry_run)}")


def _row(one: Any, connection: client.Client) -> list[str]:
    item = one["object"]
    key = f"{item['kind']}/{item['metadata']['name']}"
    ago = output.age(one["removedAt"], connection.now)
    return [key, ago, one["deletedBy"], one["restorableUntil"][:10], item["metadata"]["uid"]]
