"""``token``: API keys for programs, and the server's signing key."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from api.cli import client, options, output

token = typer.Typer(no_args_is_help=True, help="API keys, for programs.")
Id = Annotated[str, typer.Argument(metavar="ID", help="As `ggnet token list` shows it.", show_default=False)]


class Scopes(StrEnum):
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@token.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.", show_default=False)],
    scope: Annotated[list[Scopes], typer.Option("--scope", help="What it may do; may stand again.", show_default=False)],
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="DURATION", help="90d, 12h; default: never.", show_default=False)
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Whose; for administrators.")] = None,
    form: options.Json = None,
) -> None:
    """Make an API key. It is printed once: give it to the program as GGNET_TOKEN.

    It is never more than its owner, and ends with the account.

    Examples:

      ggnet token create ci --scope read --expires 90d

      export GGNET_TOKEN=$(ggnet token create ci --scope write)
    """
    life = None if expires is None else options.seconds(expires)
    connection = client.connect()
    body: dict[str, Any] = {"name": name, "scopes": [one.value for one in scope]}
    if life is not None:
        connection.get("/auth/me")  # the server's clock
        body["expiresAt"] = (connection.now + timedelta(seconds=life)).isoformat()
    if user is not None:
        body["user"] = user
    _shown(connection.post("/tokens", json=body), form)


@token.command("list")
def list_tokens(form: options.Output = None) -> None:
    """List API keys: your own, for an administrator all.

    Example:

      ggnet token list
    """
    connection = client.connect()
    items = connection.get("/tokens")["items"]
    headers = ["ID", "NAME", "USER", "SCOPES", "LAST USED", "EXPIRES", "AGE"]
    options.show_list(form, items, headers, lambda one: _row(connection, one), name="id")


@token.command()
def revoke(id: Id) -> None:
    """Revoke an API key: it opens nothing any more.

    Example:

      ggnet token revoke 4f2a91c07d3e
    """
    client.connect().call("DELETE", f"/tokens/{quote(id, safe='')}")
    output.line(f"token {id} revoked")


@token.command()
def rotate(id: Id, form: options.Json = None) -> None:
    """Give an API key another secret, which is printed once; the old one ends now.

    Example:

      ggnet token rotate 4f2a91c07d3e
    """
    _shown(client.connect().post(f"/tokens/{quote(id, safe='')}/rotate"), form)


@token.command("rotate-key")
def rotate_key() -> None:
    """On the server: sign access tokens with a new key from now on. Nobody is logged out, nothing is restarted.

    Example:

      sudo ggnet token rotate-key
    """
    from api.auth.identity import keyring
    from api.cli.failure import Failure
    from api.token import TokenError
    from controller.bootstrap import here

    settings = client.settings()
    try:
        made = keyring(settings).rotate(here.clock().now())
    except TokenError as error:
        raise Failure(str(error), remedy="run it on the server, as the daemon's user or root") from None
    output.line(f"key {made} signs from now on; the one before verifies until all that it signed has expired")


def _shown(made: Any, form: options.PlanFormat | None) -> None:
    """The key alone on standard output, so that it can be piped."""
    if form is not None:
        output.as_json(made)
        return
    output.note(f"token {made['id']} ({made['name']}, {' '.join(made['scopes'])}), shown this once:")
    output.line(made["token"])


def _row(connection: client.Client, one: Any) -> list[str]:
    used = output.age(one["lastUsedAt"], connection.now)
    expires = (one["expiresAt"] or "never")[:16]
    age = output.age(one["createdAt"], connection.now)
    return [one["id"], one["name"], one["user"], ",".join(one["scopes"]), used, expires, age]
