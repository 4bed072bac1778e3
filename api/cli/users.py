"""``user``: accounts, for administrators; and one's own password."""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from api.cli import asking, client, options, output
from api.cli.failure import USAGE, Failure

user = typer.Typer(no_args_is_help=True, help="Accounts: who may log in, and as what.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.", show_default=False)]
_HEADERS = ["NAME", "ROLE", "STATE", "LAST LOGIN", "AGE"]


class Roles(StrEnum):
    VIEWER = "VIEWER"
    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"


Role = Annotated[Roles | None, typer.Option("--role", case_sensitive=False, help="What they may be.", show_default=False)]


@user.command()
def create(
    name: Name,
    role: Role = None,
    admin: Annotated[bool, typer.Option("--admin", help="The same as --role ADMIN.")] = False,
) -> None:
    """Make an account. The password is asked for twice, or read from a pipe.

    The first administrator is made on the server itself, which needs no login there.

    Examples:

      ggnet user create ada --admin

      ggnet user create bob --role OPERATOR < password-file
    """
    if admin and role not in (None, Roles.ADMIN):
        raise Failure(f"--admin and --role {role} do not go together", USAGE, remedy="leave out one of the two")
    connection = client.connect()
    wanted = Roles.ADMIN if admin else role or Roles.VIEWER
    body = {"username": name, "password": asking.password("Password", twice=True), "role": wanted.value}
    made = connection.post("/users", json=body)
    output.line(f"user {made['username']} created ({made['role']})")


@user.command("list")
def list_users(form: options.Output = None) -> None:
    """List the accounts.

    Examples:

      ggnet user list

      ggnet user list -o json | jq -r '.items[].username'
    """
    connection = client.connect()
    page = connection.get("/users")
    items = page["items"]
    while after := page["metadata"].get("continue"):
        page = connection.get("/users", **{"continue": after})
        items += page["items"]
    options.show_list(form, items, _HEADERS, lambda one: _row(connection, one), name="username")


@user.command()
def show(name: Name, form: options.Output = None) -> None:
    """Show one account.

    Example:

      ggnet user show ada -o yaml
    """
    connection = client.connect()
    one = connection.get(_path(name))
    if form in (None, options.Format.WIDE):
        output.table(_HEADERS, [_row(connection, one)])
    else:
        options.show_one(form, one, name="username")


@user.command("set")
def change(
    name: Name,
    role: Role = None,
    disabled: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Shut them out, or let them in again.", show_default=False)
    ] = None,
    password: Annotated[bool, typer.Option("--password", help="Another password, asked for or piped in.")] = False,
) -> None:
    """Change an account; at once, for logins that are open too.

    Examples:

      ggnet user set bob --role ADMIN

      ggnet user set bob --disable

      ggnet user set bob --password
    """
    wanted: dict[str, Any] = {"role": role.value if role else None, "disabled": disabled}
    wanted = {field: value for field, value in wanted.items() if value is not None}
    if not wanted and not password:
        raise Failure("nothing to change", USAGE, remedy="give --role, --disable, --enable or --password")
    connection = client.connect()
    if password:
        wanted["password"] = asking.password("New password", twice=True)
    connection.call("PATCH", _path(name), json=wanted)
    output.line(f"user {name} changed")


@user.command()
def unlock(name: Name) -> None:
    """Open an account that failed logins have closed.

    Example:

      ggnet user unlock bob
    """
    client.connect().call("PATCH", _path(name), json={"locked": False})
    output.line(f"user {name} unlocked")


@user.command()
def delete(
    name: Name,
    erase: Annotated[
        bool, typer.Option("--erase", help="Also forget name and addresses in the audit log, for good.")
    ] = False,
) -> None:
    """Delete an account, its logins and its API keys.

    Examples:

      ggnet user delete bob

      ggnet user export bob > bob.json && ggnet user delete bob --erase
    """
    client.connect().call("DELETE", _path(name), params={"erase": "true" if erase else None})
    output.line(f"user {name} deleted" + (" and forgotten" if erase else ""))


@user.command()
def export(name: Name) -> None:
    """Print all that is kept about one person, as JSON.

    Example:

      ggnet user export bob > bob.json
    """
    output.as_json(client.connect().call("GET", f"{_path(name)}/export", timeout=600))


@user.command("password")
def own_password() -> None:
    """Change your own password; your other logins end. From a pipe: the old and the new one, a line each.

    Example:

      ggnet user password
    """
    connection = client.connect()
    old, new = asking.password("Old password"), asking.password("New password", twice=True)
    connection.post("/auth/password", json={"old_password": old, "new_password": new})
    output.line("password changed; your other logins have ended")


def _row(connection: client.Client, one: Any) -> list[str]:
    state = "disabled" if one["disabled"] else "locked" if one["lockedUntil"] else "open"
    last = output.age(one["lastLoginAt"], connection.now)
    return [one["username"], one["role"], state, last, output.age(one["createdAt"], connection.now)]


def _path(name: str) -> str:
    """The name can bring no path of its own."""
    return f"/users/{quote(name, safe='') if name.strip('.') else '-'}"
