"""``login``, ``logout``, and ``context``: several servers, one name each."""

import re
from typing import Annotated

import typer

from api.cli import asking, client, logins, options, output
from api.cli.failure import ERROR, USAGE, Failure

context = typer.Typer(no_args_is_help=True, help="Which server is asked, of those that you have logged in to.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `ggnet context list` shows it.", show_default=False)]
_possible = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII).fullmatch


def login(
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="Default: the context's, GGNET_URL, or the local daemon.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--context", metavar="NAME", help="What to call it; default: its host.")
    ] = None,
    username: Annotated[str | None, typer.Option("--username", "-u", metavar="NAME", help="Default: asked for.")] = None,
) -> None:
    """Log in to a server, and use it from now on. The password is asked for, or read from a pipe.

    The login is kept in ~/.config/ggnet, for you alone, and renews itself until it is unused for a week.

    Examples:

      ggnet login --server https://ggnet.example.org --context campus

      ggnet login --username ada < password-file
    """
    settings = client.settings()
    place = logins.folder(settings)
    known = logins.read(place)
    url = client.checked(server or _server(known, name) or settings.url or client.local_url(settings.listen))
    title = name or known.at(url) or client.host(url)
    if not _possible(title) or title == logins.LOCAL:
        raise Failure(
            f"{ascii(title)[1:-1][:63]} cannot name a context", USAGE, remedy="give --context NAME: a-z, 0-9, . _ -"
        )
    if url.startswith("http:") and client.host(url) not in client.LOOPBACK:
        output.note(f"{url} is not encrypted: the password can be read on its way")
    user = asking.name(username)
    answer = client.open_door(url).post("/auth/login", data={"username": user, "password": asking.password("Password")})
    with logins.changing(place) as all_of_them:
        made = logins.Login(url, user.lower(), answer["access_token"], answer["refresh_token"])
        all_of_them.contexts[title] = made
        all_of_them.current = title
    me = client.open_door(url, answer["access_token"]).get("/auth/me")
    output.line(f"logged in to {url} as {me['username']} ({me['role']}), context {title}")


def logout(
    name: Annotated[str | None, typer.Option("--context", metavar="NAME", help="Default: the one in use.")] = None,
) -> None:
    """End a login: its tokens open nothing any more. The context stays, to log in again.

    Examples:

      ggnet logout

      ggnet logout --context campus
    """
    settings = client.settings()
    place = logins.folder(settings)
    known = logins.read(place)
    title = name or settings.context or (known.at(settings.url) if settings.url else None) or known.current
    if title == logins.LOCAL or not known.named(title).access:
        raise Failure(f"nobody is logged in to {title}", ERROR, remedy="see ggnet context list")
    try:
        client.to(settings, place, title).post("/auth/logout")
    finally:
        with logins.changing(place) as all_of_them:
            if title in all_of_them.contexts:
                all_of_them.contexts[title].access = all_of_them.contexts[title].refresh = ""
    output.line(f"logged out of {known.named(title).server}")


@context.command("list")
def list_contexts(form: options.Output = None) -> None:
    """List the servers that you have logged in to; the one in use has a star.

    Example:

      ggnet context list
    """
    settings = client.settings()
    known = logins.read(logins.folder(settings))
    rows = {logins.LOCAL: logins.Login(client.local_url(settings.listen), "admin", "-"), **known.contexts}
    current = settings.context or known.current
    items = [
        {"name": name, "server": one.server, "user": one.username, "loggedIn": bool(one.access), "current": name == current}
        for name, one in rows.items()
    ]
    options.show_list(
        form,
        items,
        ["", "NAME", "SERVER", "USER", "LOGGED IN"],
        lambda one: [
            "*" if one["current"] else " ",
            one["name"],
            one["server"],
            one["user"],
            "yes" if one["loggedIn"] else "no",
        ],
    )


@context.command()
def use(name: Name) -> None:
    """Ask this server from now on; `local` is the daemon on this machine.

    Example:

      ggnet context use campus
    """
    with logins.changing(logins.folder(client.settings())) as known:
        if name != logins.LOCAL:
            known.named(name)
        known.current = name
    output.line(f"context {name} is in use")


@context.command()
def delete(name: Name) -> None:
    """Forget a server. A login there ends by itself within a week; `ggnet logout` ends it now.

    Example:

      ggnet context delete campus
    """
    with logins.changing(logins.folder(client.settings())) as known:
        known.named(name)
        del known.contexts[name]
        if known.current == name:
            known.current = logins.LOCAL
    output.line(f"context {name} deleted")


def _server(known: logins.Logins, name: str | None) -> str | None:
    return known.contexts[name].server if name in known.contexts else None
