"""Who may do what with what a label selector selects: ``binding create``, ``binding list``, ``binding delete``."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from api.cli import client, options, output

binding = typer.Typer(no_args_is_help=True, help="What users may do with what a label selector selects.")
User = Annotated[str, typer.Argument(metavar="USER", help="The user's name.", show_default=False)]


@binding.command()
def create(
    user: User,
    selector: Annotated[str, typer.Option("--selector", "-l", help="Labels of machines, like room=main.")],
    verbs: Annotated[
        str, typer.Option("--verbs", help="Of read, write, delete, start, stop, suspend, force; joined by commas.")
    ],
    narrow: Annotated[bool, typer.Option("--narrow", help="Take away what the role alone shows and allows.")] = False,
) -> None:
    """Let a user do these verbs with what the selector selects.

    Examples:

      ggnet binding create ada --selector room=main --verbs start,stop

      ggnet binding create ada --selector room=main --verbs start,stop --narrow
    """
    wanted = {
        "user": user,
        "verbs": [verb.strip() for verb in verbs.split(",")],
        "labelSelector": selector,
        "narrows": narrow,
    }
    made = client.connect().post("/bindings", json=wanted)
    output.line(f"{made['user']} may {', '.join(made['verbs'])} where {made['labelSelector']} ({made['id']})")


@binding.command("list")
def list_all(
    user: Annotated[str | None, typer.Argument(metavar="USER", help="Only this user's.", show_default=False)] = None,
    form: options.Json = None,
) -> None:
    """Show who is bound to what.

    Examples:

      ggnet binding list

      ggnet binding list ada -o json
    """
    connection = client.connect()
    found = connection.get("/bindings", user=user)["items"]
    if form is not None:
        output.as_json({"items": found})
    elif not found:
        output.note("no bindings")
    else:
        output.table(["ID", "USER", "VERBS", "SELECTOR", "NARROWS", "AGE", "BY"], [_row(one, connection) for one in found])


@binding.command()
def delete(
    binding_id: Annotated[str, typer.Argument(metavar="ID", help="As ggnet binding list shows it.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Also the last one that narrows its user.")] = False,
) -> None:
    """Remove a binding.

    Example:

      ggnet binding delete 8a0e6f1c-43e9-4f0e-9d3c-0a4b5c1f2d3e
    """
    params = {"force": "true" if force else None}
    gone = client.connect().call("DELETE", f"/bindings/{quote(binding_id, safe='')}", params=params)
    output.line(f"{gone['user']} is no longer bound to {gone['labelSelector']}")


def _row(one: Any, connection: client.Client) -> list[str]:
    narrows = "yes" if one["narrows"] else "no"
    age = output.age(one["createdAt"], connection.now)
    return [one["id"], one["user"], ",".join(one["verbs"]), one["labelSelector"], narrows, age, one["createdBy"]]
